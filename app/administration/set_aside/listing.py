"""Which items were not applied, as lists, counts and one by one (contract, section 12)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, case, false, func, select, tuple_, union_all

from app import policies
from app.administration.fields import read_next, write_next
from app.administration.set_aside.private import private_fields
from app.administration.set_aside.sight import decidable, reads_few, sees_few, visible, visible_of_few
from app.clock import to_wire
from app.core.database.engine import db
from app.core.database.rows import set_in_memory
from app.core.host.registry import current_registry
from app.core.host.watch import is_interrupt
from app.core.ledger.set_aside import is_open, is_open_among_many, is_solved
from app.core.sync.set_aside import CONFLICT
from app.core.values import JsonObject, parse_timestamp
from app.errors import ConflictError, InvalidError, NotFoundError
from app.models import Inspection, SetAside, User
from app.models.entities import Row, entity_of, fields_of
from app.models.serialize import select_shown

logger = logging.getLogger(__name__)

#: `superseded`: the device has solved it by itself.
STATES = ("open", "decided", "superseded")

#: The most causes that are counted apart.
MOST_CAUSES = 100

#: The newest rows among which causes are counted, and those that a device has solved since the upkeep are found.
MOST_LOOKED_THROUGH = 1000

#: The most rows that are decided at once.
MOST_AT_ONCE = 1000

#: The columns of a row that a list shows as they are.
PLAIN = (
    *("id", "outcome", "code", "error", "message", "retryable", "device_id", "local_id", "type"),
    *("entity", "entity_id", "inspection_id", "is_cut", "times", "decision", "reason"),
)


#: The order of lists, which show the newest first.
ORDER = (SetAside.first_at, SetAside.id)
_NEWEST_FIRST = (SetAside.first_at.desc(), SetAside.id.desc())


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


def state_column() -> ColumnElement[str]:
    """One of `STATES`."""
    return case((SetAside.decision.is_not(None), "decided"), (is_open(), "open"), else_="superseded")


def list_set_aside(user: User, filters: Filters, *, after: str | None = None, per_page: int = 50) -> JsonObject:
    """`{"set_aside": [...], "next": …}`: the rows that the user may see, newest first.

    `after`: the `next` of the page before; None on the last page. Raises `InvalidError` for a key that is none.
    """
    columns = [getattr(SetAside, name) for name in (*PLAIN, *_TIMES, *_PEOPLE)]
    statement = _newest(user, filters, [*columns, state_column().label("state")], per_page + 1, after)
    rows = db.session.execute(statement).all()
    shown, last = rows[:per_page], rows[per_page - 1] if len(rows) > per_page else None
    return {
        "set_aside": _described(shown),
        "next": None if last is None else write_next(last.first_at, last.id),
    }


def show_set_aside(user: User, key: str) -> JsonObject:
    """One row with its item, its details, and with the row as it is now. Raises `NotFoundError`.

    `private` names the private fields, whose values are there, too: see `without_private`.
    """
    statement = select(SetAside, state_column()).where(SetAside.id == key, visible(user))
    found = db.session.execute(statement).one_or_none()
    if found is None:
        raise NotFoundError("There is no such item")
    row, state = found
    (described,) = _described([_Shown(row, state)])
    present = _present_row(row)
    shown = {
        **described,
        "details": row.details,
        "item": row.item,
        "made_at": _made_at(row.item),
        "seen": _seen(row, present),
        "seen_version": None if row.seen_version is None else to_wire(row.seen_version),
        "present": None if present is None else {"updated_at": to_wire(present.updated_at), "data": _exposed(present)},
    }
    return {**shown, "private": private_fields(shown, present)}


def causes(user: User, filters: Filters) -> list[JsonObject]:
    """How many of the newest rows there are of each outcome, code, type and sentence: the most frequent first.

    `MOST_LOOKED_THROUGH` rows are counted, and `MOST_CAUSES` causes are returned, at most.
    """
    columns = (SetAside.outcome, SetAside.code, SetAside.type, SetAside.error, SetAside.first_at, SetAside.last_at)
    if filters.state == "open":
        matching = select(*columns).where(SetAside.id.in_(_unsettled(_conditions_but_state(user, filters))), is_open())
    else:
        matching = _newest(user, filters, [*columns, SetAside.id], MOST_LOOKED_THROUGH)
    newest = matching.subquery().c
    cause = (newest.outcome, newest.code, newest.type, newest.error)
    count, first_at, last_at = func.count(), func.min(newest.first_at), func.max(newest.last_at)
    statement = (
        select(*cause, count.label("count"), first_at.label("first_at"), last_at.label("last_at"))
        .group_by(*cause)
        .order_by(count.desc(), *cause)
        .limit(MOST_CAUSES)
    )
    return [
        {**row._mapping, "first_at": to_wire(row.first_at), "last_at": to_wire(row.last_at)}
        for row in db.session.execute(statement)
    ]


def count_open(user: User, *, most: int) -> tuple[int, int]:
    """How many open rows, and how many open conflicts, the user may see, each counted up to `most`; one statement."""
    counts = (_count(user, Filters(outcome=outcome), most) for outcome in (None, CONFLICT))
    row = db.session.execute(select(*counts)).one()
    return row[0], row[1]


def neighbours(user: User, filters: Filters, shown: JsonObject) -> tuple[str | None, str | None]:
    """The ids of the rows before and after one that `show_set_aside` has shown, in the order of the list."""
    place = _place(parse_timestamp(shown["first_at"]), shown["id"])
    statement = select(SetAside.id).where(*_conditions(user, filters)).limit(1)
    newer = statement.where(tuple_(*ORDER) > place).order_by(*ORDER)
    older = statement.where(tuple_(*ORDER) < place).order_by(*_NEWEST_FIRST)
    return db.session.scalar(newer), db.session.scalar(older)


def decidable_keys(user: User, filters: Filters, *, most: int) -> list[str]:
    """The ids of the open rows that match and that the user may decide, up to `most` of them."""
    if filters.state not in (None, "open"):
        return []
    statement = select(SetAside.id).where(*_conditions(user, filters), is_open(), decidable(user))
    return list(db.session.scalars(statement.limit(most)))


def decidable_among(user: User, rows: Iterable[JsonObject]) -> list[str]:
    """The ids of those rows of `list_set_aside` that the user may decide; a statement, unless for an administrator."""
    ids = [row["id"] for row in rows if row["state"] == "open"]
    if policies.is_admin(user):
        return ids
    return list(db.session.scalars(select(SetAside.id).where(SetAside.id.in_(ids), decidable(user))))


def count_decidable(user: User, filters: Filters, *, most: int) -> int:
    """How many open rows match that the user may decide; `most` + 1 stands for more; one statement.

    If more than `most` may still be open, the ledger is not asked which of them are.
    """
    if filters.state not in (None, "open"):
        return 0
    matching = [*_conditions_but_state(user, filters), SetAside.settled_at.is_(None), decidable(user)]
    some, still_open = (
        select(func.count()).select_from(select(SetAside.id).where(*conditions).limit(most + 1).subquery())
        for conditions in (matching, [*matching, is_open()])
    )
    counted = case((some.scalar_subquery() > most, most + 1), else_=still_open.scalar_subquery())
    return db.session.scalar(select(counted)) or 0


def keys_of(user: User, filters: Filters, count: int) -> list[str]:
    """The ids of the open rows that match and that the user may decide, if they are as many as were confirmed.

    Raises `ConflictError` (`count_changed`) if they are not, and `InvalidError` for more than can be decided at once.
    """
    if count > MOST_AT_ONCE:
        details = {"count": [f"At most {MOST_AT_ONCE} are decided at once: choose fewer by the filter."]}
        raise InvalidError(extra={"details": details})
    keys = decidable_keys(user, filters, most=count + 1)
    if len(keys) != count:
        raise ConflictError(
            "count_changed",
            "Another number of items matches by now",
            "Nothing was decided. Look at the list again, and confirm its new number.",
        )
    return keys


def _place(moment: datetime, key: str) -> ColumnElement[Any]:
    """A row's place in the order of lists."""
    return tuple_(moment, key, types=[column.type for column in ORDER])


_TIMES = ("first_at", "last_at", "settled_at")
_PEOPLE = ("user_id", "decided_by_id")


class _Shown:
    """A row as `_described` reads it, with its state."""

    def __init__(self, row: SetAside, state: str) -> None:
        self._row = row
        self.state = state

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, name)


def _newest(user: User, filters: Filters, columns: Sequence[Any], most: int, after: str | None = None) -> Select[Any]:
    """The newest rows that match, up to `most` of them, behind the place `after`. `columns` has those of `ORDER`."""
    statement = select(*columns).order_by(*_NEWEST_FIRST).limit(most)
    if after is not None:
        statement = statement.where(tuple_(*ORDER) < _place(*read_next(after, str)))
    if filters.state != "superseded":
        return statement.where(*_conditions(user, filters))
    # Each in its own order: of two conditions with `or` between them, all rows would be read.
    ways = (statement.where(*conditions).subquery() for conditions in _superseded(user, filters))
    rows = union_all(*map(select, ways)).subquery()
    return select(rows).order_by(*(rows.c[column.key].desc() for column in ORDER)).limit(most)


def _superseded(user: User, filters: Filters) -> Iterator[list[ColumnElement[bool]]]:
    """Two conditions: rows that the upkeep has noted as solved, and rows that were solved since, among the newest."""
    matching = _conditions_but_state(user, filters)
    yield [*matching, SetAside.settled_at.is_not(None), SetAside.decision.is_(None)]
    yield [SetAside.id.in_(_unsettled(matching)), is_solved()]


def _conditions_but_state(user: User, filters: Filters) -> list[ColumnElement[bool]]:
    return _conditions(user, replace(filters, state=None))


def _unsettled(matching: Iterable[ColumnElement[bool]]) -> Select[Any]:
    """The ids of the newest rows that may be open. The ledger is asked about no others, whatever the planner thinks."""
    newest = select(SetAside.id).where(*matching, SetAside.settled_at.is_(None)).order_by(*_NEWEST_FIRST)
    return newest.limit(MOST_LOOKED_THROUGH).correlate(None)


def _conditions(user: User, filters: Filters) -> list[ColumnElement[bool]]:
    is_few = reads_few(user)
    return [visible_of_few(user) if is_few else visible(user), *_matching(filters, is_few)]


def _matching(filters: Filters, is_few: bool) -> Iterator[ColumnElement[bool]]:
    """The conditions of filters. Those that only make an index usable are left out where inspections are looked up."""
    names = ("outcome", "code", "type", "user_id", "device_id", "inspection_id")
    wanted = {name: getattr(filters, name) for name in names if getattr(filters, name) is not None}
    yield from (getattr(SetAside, name) == value for name, value in wanted.items())
    if filters.outcome == CONFLICT and not is_few:
        # It follows from the outcome, and has an index.
        yield SetAside.code == CONFLICT
    if filters.ids is not None:
        yield SetAside.id.in_(filters.ids)
    yield from _state_conditions(filters.state, is_few)


def _count(user: User, filters: Filters, most: int) -> ColumnElement[int]:
    """How many rows match, up to `most`. The database runs the one of two queries that suits the user."""

    def up_to_most(sight: ColumnElement[bool], is_few: bool) -> ColumnElement[int]:
        some = select(SetAside.id).where(sight, *_matching(filters, is_few)).limit(most).subquery()
        return select(func.count()).select_from(some).scalar_subquery()

    of_many = up_to_most(visible(user), False)
    if policies.is_admin(user):
        return of_many
    return case((sees_few(user), up_to_most(visible_of_few(user), True)), else_=of_many)


def _state_conditions(state: str | None, is_few: bool) -> list[ColumnElement[bool]]:
    if state is None:
        return []
    if state == "open":
        return [is_open() if is_few else is_open_among_many()]
    if state == "decided":
        # Of many, the settled ones have an index.
        return [SetAside.decision.is_not(None), *([] if is_few else [SetAside.settled_at.is_not(None)])]
    return [is_solved() if state == "superseded" else false()]


def _described(rows: Sequence[Any]) -> list[JsonObject]:
    """The rows as they are listed, with the names of people; one query for all of them."""
    people = _people(key for row in rows for key in (row.user_id, row.decided_by_id) if key is not None)
    return [
        {
            **{name: getattr(row, name) for name in PLAIN},
            "device_id": row.device_id or None,
            "state": row.state,
            "user": people.get(row.user_id),
            "first_at": to_wire(row.first_at),
            "last_at": to_wire(row.last_at),
            "decided_by": people.get(row.decided_by_id),
            "decided_at": to_wire(row.settled_at) if row.decision is not None else None,
        }
        for row in rows
    ]


def _people(keys: Iterable[int]) -> dict[int | None, JsonObject]:
    rows = db.session.execute(select(User.id, User.name).where(User.id.in_(set(keys))))
    return {key: {"id": key, "name": name} for key, name in rows}


def _present_row(row: SetAside) -> Row | None:
    """The row that the item is about, as it is now; None where it is not known, or no longer there."""
    registry = current_registry()
    model: Any = registry.models.get(row.entity or "")
    if model is None or row.entity_id is None or row.inspection_id is None:
        return None
    key = registry.key_of(model, row.entity_id)
    present: Row | None = db.session.scalars(select_shown(model).where(model.id == key)).one_or_none()
    # The item's inspection has decided who sees it; its row may have another one only by a mistake.
    if present is None or present.inspection_id != row.inspection_id:
        return None
    root = db.session.get(Inspection, row.inspection_id)
    if model is not Inspection and root is not None:
        # Plugins' titles and labels read it.
        set_in_memory(present, {"inspection": root})
    return present


def _made_at(item: JsonObject | None) -> str | None:
    """When the item was made by its device's clock; None: the item is not kept, or says nothing that can be read."""
    try:
        return to_wire(parse_timestamp((item or {}).get("made_at")))
    except ValueError:
        return None


def _exposed(row: Row) -> JsonObject:
    """A row's fields as answers show them; none where the plugin's code fails."""
    expose = entity_of(row).expose
    if expose is None:
        return fields_of(row)
    try:
        return dict(expose(row, dict(fields_of(row))))
    except BaseException as error:  # a plugin's code may raise anything
        if is_interrupt(error):
            raise
        logger.exception("expose failed", extra={"entity": entity_of(row).name, "id": row.id})
        return {}


def _seen(row: SetAside, present: Row | None) -> JsonObject | None:
    """The values of a conflict, without fields of the server that its entity shows nobody."""
    if row.seen is None or present is None or row.seen["theirs"] is None:
        return row.seen
    hidden = fields_of(present).keys() - _exposed(present).keys()
    sides = {side: row.seen[side] for side in ("base", "theirs") if row.seen[side] is not None}
    shown = {side: {name: value for name, value in sides[side].items() if name not in hidden} for side in sides}
    return {**row.seen, **shown}
