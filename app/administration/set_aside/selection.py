"""Some of the items that were not applied: filters and sight as conditions, and the newest rows that meet them.

To build a statement takes longer than most of them take to run. Statements with these conditions depend on the
`Selection` alone, so that they can be built once for each; the values are their parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Subquery,
    bindparam,
    case,
    false,
    select,
    true,
    tuple_,
    union_all,
)

from app.administration.fields import read_next
from app.administration.set_aside import sight
from app.core.database import Database, database_of
from app.core.database.engine import db
from app.core.ledger.set_aside import is_open, is_open_among_many, is_solved
from app.core.sync.set_aside import CONFLICT
from app.core.values import Values
from app.models import SetAside, User

#: `superseded`: the device has solved it by itself.
STATES = ("open", "decided", "superseded")

#: The filters that ask for the value of a column.
COLUMNS = ("outcome", "code", "type", "user_id", "device_id", "inspection_id")

#: The order of lists, which show the newest first.
ORDER = (SetAside.first_at, SetAside.id)
NEWEST_FIRST = (SetAside.first_at.desc(), SetAside.id.desc())

#: A place in that order, as parameters.
PLACE = tuple(bindparam(f"place_{column.key}", type_=column.type) for column in ORDER)

#: How many rows a statement returns or counts, and how many it looks through for them, as parameters.
MOST, LOOKED_THROUGH = bindparam("most", type_=Integer), bindparam("looked_through", type_=Integer)

#: The columns that may be large: nothing looks through them.
LARGE = frozenset({"item", "seen", "details"})


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which rows are wanted; None: all of them."""

    outcome: str | None = None
    code: str | None = None
    type: str | None = None
    user_id: int | None = None
    device_id: str | None = None
    inspection_id: int | None = None
    ids: Sequence[str] | None = None
    state: str | None = "open"


class Selection(NamedTuple):
    """The rows that a user sees and that meet filters, as far as the text of a statement depends on them."""

    database: Database
    role: str
    #: Whether the user sees so few inspections that each of them is looked up.
    is_of_few: bool
    #: The names of the filters that are set, the state aside.
    names: tuple[str, ...]
    is_of_conflicts: bool
    state: str | None
    #: Whether the user must have the right to decide them.
    is_decidable: bool = False


def selection_of(user: User, filters: Filters) -> Selection:
    """The rows that the user sees and that meet the filters; a statement in a request, unless for an administrator."""
    names = tuple(name for name in (*COLUMNS, "ids") if getattr(filters, name) is not None)
    is_of_conflicts = filters.outcome == CONFLICT
    return Selection(database_of(db.session()), user.role, sight.sees_few(user), names, is_of_conflicts, filters.state)


def parameters_of(user: User, filters: Filters, **others: Any) -> Values:
    """The parameters of a statement that selects these rows, and others that it has."""
    wanted = {_parameter(name): getattr(filters, name) for name in (*COLUMNS, "ids")}
    return {**sight.parameters_of(user), **wanted, **others}


def place_parameters(after: str | None) -> Values:
    """The parameters of `PLACE`, of a place that `write_next` has written. Raises `InvalidError` if it is none."""
    return {} if after is None else place_of(*read_next(after, str))


def place_of(*values: Any) -> Values:
    """The parameters of `PLACE`, of the row with these values in `ORDER`."""
    return {parameter.key: value for parameter, value in zip(PLACE, values, strict=True)}


def conditions(selection: Selection) -> list[ColumnElement[bool]]:
    """The conditions for the rows."""
    return [*_conditions_but_state(selection), *_state_conditions(selection.state, selection.is_of_few)]


def may_be_open(selection: Selection) -> list[ColumnElement[bool]]:
    """The conditions for the rows, in whatever state, that nobody has noted as settled. The ledger is not asked."""
    is_unsettled = SetAside.settled_at.is_(None)
    # Where inspections are looked up, SQLite must not see that it could read an index of unsettled rows instead.
    return [*_conditions_but_state(selection), is_unsettled.is_(true()) if selection.is_of_few else is_unsettled]


def newest(
    selection: Selection, names: Iterable[str], *, is_behind: bool = False, has_state: bool = False
) -> Select[Any]:
    """These columns of the newest rows, up to `MOST` of them, and behind `PLACE` if `is_behind`.

    `names` has those of `ORDER`. `has_state`: adds `state`. For rows that were superseded, `LOOKED_THROUGH` is a
    parameter, too.
    """
    ways = []
    for row, matching in _ways(selection):
        columns = [getattr(row, name) for name in names]
        way = select(*columns, *([state_column(row).label("state")] if has_state else [])).where(*matching)
        ways.append(way.where(tuple_(row.first_at, row.id) < tuple_(*PLACE)) if is_behind else way)
    return _merged(ways, MOST)


def rows_around(selection: Selection) -> tuple[Select[Any], Select[Any]]:
    """The ids of the rows before and after `PLACE`, in the order of lists. `LOOKED_THROUGH` is as in `newest`."""
    newer, older = [], []
    for row, matching in _ways(selection):
        order = (row.first_at, row.id)
        way: Select[Any] = select(*order).where(*matching)
        newer.append(way.where(tuple_(*order) > tuple_(*PLACE)))
        older.append(way.where(tuple_(*order) < tuple_(*PLACE)))
    return _id_of(_merged(newer, 1, is_newest_first=False)), _id_of(_merged(older, 1))


def _id_of(statement: Select[Any]) -> Select[Any]:
    return statement.with_only_columns(statement.selected_columns.id)


def _ways(selection: Selection) -> Iterator[tuple[Any, Sequence[ColumnElement[bool]]]]:
    """The tables and conditions that together have the rows of a selection, each with an index in the order of lists.

    Of two conditions with `or` between them, all rows would be read.
    """
    if selection.state != "superseded":
        yield from ((SetAside, matching) for matching in _matching(selection))
        return
    # Those that the upkeep has noted as solved, and those that were solved since.
    noted = (SetAside.settled_at.is_not(None), SetAside.decision.is_(None))
    yield SetAside, [*_conditions_but_state(selection), *noted]
    unsettled = looked_through(selection).c
    yield unsettled, [is_solved(unsettled)]


def _matching(selection: Selection) -> Sequence[list[ColumnElement[bool]]]:
    """The conditions for the rows: those for one part of them, and for the other, where each part has an index."""
    if selection.state is not None or selection.is_of_few:
        return [conditions(selection)]
    parts = (SetAside.settled_at.is_(None), SetAside.settled_at.is_not(None))
    return [[*conditions(selection), part] for part in parts]


def _merged(ways: Sequence[Select[Any]], limit: Any, *, is_newest_first: bool = True) -> Select[Any]:
    """The rows of all of these statements in the order of lists, or in the other one, up to a limit."""

    def ordered(statement: Select[Any]) -> Select[Any]:
        columns = statement.selected_columns
        order = (columns.first_at, columns.id)
        return statement.order_by(*(column.desc() if is_newest_first else column for column in order)).limit(limit)

    if len(ways) == 1:
        return ordered(ways[0])
    rows = union_all(*(select(ordered(way).subquery()) for way in ways)).subquery()
    return ordered(select(rows))


def looked_through(selection: Selection) -> Subquery:
    """The newest rows that may be open, up to `LOOKED_THROUGH`. The ledger is asked about no others, whatever the
    planner thinks.
    """
    columns = [column for column in SetAside.__table__.c if column.name not in LARGE]
    statement = select(*columns).where(*may_be_open(selection)).order_by(*NEWEST_FIRST)
    return statement.limit(LOOKED_THROUGH).subquery()


def state_column(row: Any = SetAside) -> ColumnElement[str]:
    """One of `STATES`. `row`: has the columns, those of a query perhaps."""
    return case((row.decision.is_not(None), "decided"), (is_open(row), "open"), else_="superseded")


def _conditions_but_state(selection: Selection) -> Iterator[ColumnElement[bool]]:
    """Those that only make an index usable are left out where inspections are looked up."""
    if selection.is_of_few:
        yield sight.visible_of_few(selection.role, selection.database)
    elif not selection.is_decidable:
        yield sight.visible(selection.role)
    if selection.is_decidable:
        # Who may decide an item sees it.
        yield sight.decidable(selection.role)
    for name in selection.names:
        column = getattr(SetAside, "id" if name == "ids" else name)
        wanted = bindparam(_parameter(name), type_=column.type, expanding=name == "ids")
        yield column.in_(wanted) if name == "ids" else column == wanted
    if selection.is_of_conflicts and not selection.is_of_few:
        # It follows from the outcome, and has an index.
        yield SetAside.code == CONFLICT


def _parameter(name: str) -> str:
    """The parameter of a filter."""
    return f"wanted_{name}"


def _state_conditions(state: str | None, is_of_few: bool) -> list[ColumnElement[bool]]:
    if state is None:
        return []
    if state == "open":
        return [is_open() if is_of_few else is_open_among_many()]
    if state == "decided":
        # Of many, the settled ones have an index.
        return [SetAside.decision.is_not(None), *([] if is_of_few else [SetAside.settled_at.is_not(None)])]
    return [is_solved() if state == "superseded" else false()]
