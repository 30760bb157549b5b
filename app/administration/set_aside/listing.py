"""Items that were not applied, as lists, causes and counts (contract, section 12)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select

from app import policies
from app.administration.among import among
from app.administration.fields import write_next
from app.administration.set_aside.selection import (
    MOST,
    NEWEST_FIRST,
    Filters,
    Selection,
    conditions,
    looked_through,
    may_be_open,
    newest,
    parameters_of,
    place_of,
    place_parameters,
    rows_around,
    selection_of,
)
from app.administration.set_aside.shown import LISTED, described
from app.administration.set_aside.sight import decidable
from app.clock import to_wire
from app.core.database.engine import db
from app.core.ledger.set_aside import is_open
from app.core.sync.set_aside import CONFLICT
from app.core.values import JsonObject, parse_timestamp
from app.errors import ConflictError, InvalidError
from app.models import SetAside, User

#: The most causes that are counted apart.
MOST_CAUSES = 100

#: The newest rows among which causes are counted, and those that a device has solved since the upkeep are found.
MOST_LOOKED_THROUGH = 500

#: The most rows that are decided at once.
MOST_AT_ONCE = 1000

#: Statements of each kind that are kept.
KEPT = 128

_around = lru_cache(maxsize=KEPT)(rows_around)


def list_set_aside(user: User, filters: Filters, *, after: str | None = None, per_page: int = 50) -> JsonObject:
    """`{"set_aside": [...], "next": …}`: the rows that the user may see, newest first.

    `after`: the `next` of the page before; None on the last page. Raises `InvalidError` for a key that is none.
    """
    bounds = {"most": per_page + 1, "looked_through": MOST_LOOKED_THROUGH}
    parameters = parameters_of(user, filters, **place_parameters(after), **bounds)
    rows = db.session.execute(_page(selection_of(user, filters), after is not None), parameters).all()
    shown, last = rows[:per_page], rows[per_page - 1] if len(rows) > per_page else None
    return {
        "set_aside": described(shown, filters.state),
        "next": None if last is None else write_next(last.first_at, last.id),
    }


def causes(user: User, filters: Filters) -> list[JsonObject]:
    """How many of the newest rows there are of each outcome, code, type and sentence: the most frequent first.

    `MOST_LOOKED_THROUGH` rows are counted, and `MOST_CAUSES` causes are returned, at most.
    """
    parameters = parameters_of(user, filters, most=MOST_LOOKED_THROUGH, looked_through=MOST_LOOKED_THROUGH)
    return [
        {**row._mapping, "first_at": to_wire(row.first_at), "last_at": to_wire(row.last_at)}
        for row in db.session.execute(_causes(selection_of(user, filters)), parameters)
    ]


def count_open(user: User, *, most: int) -> tuple[int, int]:
    """How many open rows, and how many open conflicts, the user may see, each counted up to `most`.

    One statement, and that of `selection_of`.
    """
    selections = (selection_of(user, Filters(outcome=outcome)) for outcome in (None, CONFLICT))
    row = db.session.execute(_counts(*selections), parameters_of(user, Filters(outcome=CONFLICT), most=most)).one()
    return row[0], row[1]


def neighbours(user: User, filters: Filters, shown: JsonObject) -> tuple[str | None, str | None]:
    """The ids of the rows before and after one that `show_set_aside` has shown, in the order of the list."""
    place = place_of(parse_timestamp(shown["first_at"]), shown["id"])
    parameters = parameters_of(user, filters, looked_through=MOST_LOOKED_THROUGH, **place)
    statements = _around(selection_of(user, filters))
    newer, older = (db.session.scalar(statement, parameters) for statement in statements)
    return newer, older


def decidable_keys(user: User, filters: Filters, *, most: int) -> list[str]:
    """The ids of the open rows that match and that the user may decide, up to `most` of them."""
    if filters.state not in (None, "open"):
        return []
    statement = select(SetAside.id).where(*conditions(_decidable_by(user, filters)), is_open()).limit(most)
    return list(db.session.scalars(statement, parameters_of(user, filters)))


def decidable_among(user: User, rows: Iterable[JsonObject]) -> list[str]:
    """The ids of those rows of `list_set_aside` that the user may decide; a statement, unless for an administrator."""
    ids = [row["id"] for row in rows if row["state"] == "open"]
    if policies.is_admin(user):
        return ids
    statement = select(SetAside.id).where(among(SetAside.id, ids), decidable(user.role))
    return list(db.session.scalars(statement, parameters_of(user, Filters())))


def count_decidable(user: User, filters: Filters, *, most: int) -> int:
    """How many open rows match that the user may decide; `most` + 1 stands for more.

    If more than `most` may still be open, the ledger is not asked which of them are.
    """
    if filters.state not in (None, "open"):
        return 0
    parameters = parameters_of(user, filters, most=most + 1)
    return db.session.scalar(_decidable(_decidable_by(user, filters)), parameters) or 0


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


def _decidable_by(user: User, filters: Filters) -> Selection:
    return selection_of(user, filters)._replace(is_decidable=True)


@lru_cache(maxsize=KEPT)
def _page(selection: Selection, is_behind: bool) -> Select[Any]:
    return newest(selection, LISTED, is_behind=is_behind, has_state=selection.state is None)


@lru_cache(maxsize=KEPT)
def _causes(selection: Selection) -> Select[Any]:
    names = ("outcome", "code", "type", "error")
    if selection.state == "open":
        rows = looked_through(selection)
        statement = select(rows).where(is_open(rows.c))
    else:
        statement = newest(selection, (*names, "first_at", "last_at", "id"))
        rows = statement.subquery()
        statement = select(rows)
    cause = [rows.c[name] for name in names]
    count, first_at, last_at = func.count(), func.min(rows.c.first_at), func.max(rows.c.last_at)
    columns = (count.label("count"), first_at.label("first_at"), last_at.label("last_at"))
    statement = statement.with_only_columns(*cause, *columns).group_by(*cause)
    return statement.order_by(count.desc(), *cause).limit(MOST_CAUSES)


@lru_cache(maxsize=KEPT)
def _counts(*selections: Selection) -> Select[Any]:
    """How many rows there are of each of the selections, up to `MOST`."""
    counts: list[Any] = [_count(_some(selection)) for selection in selections]
    return select(*counts)


@lru_cache(maxsize=KEPT)
def _decidable(selection: Selection) -> Select[Any]:
    some = select(SetAside.id).where(*may_be_open(selection)).limit(MOST)
    still_open = some.where(is_open())
    return select(case((_count(some) == MOST, MOST), else_=_count(still_open)))


def _some(selection: Selection) -> Select[Any]:
    statement = select(SetAside.id).where(*conditions(selection)).limit(MOST)
    # In their order: of many, PostgreSQL would otherwise gather all that an index has before it looks at the first.
    return statement if selection.is_of_few else statement.order_by(*NEWEST_FIRST)


def _count(rows: Select[Any]) -> ColumnElement[int]:
    return select(func.count()).select_from(rows.subquery()).scalar_subquery()
