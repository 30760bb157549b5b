"""*Today*: what is due, what nobody has, and what changed lately."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from flask import Response
from sqlalchemy import ColumnElement, Select, and_, func, select

from app import policies
from app.administration import among, inspection_conditions, models_shown, sight_of
from app.clock import now
from app.models import PENDING_STATUSES, Inspection, LedgerEntry, LedgerOperation, User, db
from app.pages import gettext as _
from app.pages import render
from app.web import answer_if_changed, signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.filters import MOST_COUNTED
from fieldpost_console.pages.people import names_of

#: Rows of the list of what is due.
MOST_DUE = 10

#: Of the newest changes of all people, so many are looked through for those that the user may see.
MOST_LOOKED_THROUGH = 2000

#: Changes that are read at most, and lines that they become at most: those of one transaction are one line.
MOST_CHANGES, MOST_LINES = 200, 20

DUE_COLUMNS: tuple[Any, ...] = (
    Inspection.id,
    Inspection.date,
    Inspection.status,
    Inspection.property,
    Inspection.owner_id,
    Inspection.assignee_id,
)


class Line(NamedTuple):
    """Changes of one kind that came together."""

    moment: dt.datetime
    #: None: the server's command line.
    who: str | None
    door: str | None
    action: str
    #: What the entity's rows are called.
    noun: str
    number: int
    #: The inspection's id; its columns are None if it has been deleted.
    inspection_id: int
    property: dict[str, Any] | None


@blueprint.get("/today")
def today() -> Response:
    """What is due and what changed lately, of the inspections that the user may see."""
    day, sight = now().date(), sight_of(signed_in_user())
    due = _due(sight)
    return render(
        "console/today.html",
        today=day,
        filters={name: _for_address(values) for name, values in _piles(day).items()},
        numbers=_numbers(sight, day),
        due=due,
        names=names_of(due),
        lines=list(_lines(_changes(signed_in_user()))),
    )


@blueprint.get("/today/numbers")
def today_numbers() -> Response:
    """The numbers of the page, for the script that renews them; 304 while they are the same."""
    return answer_if_changed(_numbers(sight_of(signed_in_user()), now().date()))


def _piles(day: dt.date) -> dict[str, dict[str, Any]]:
    """The piles of work, as filters of the list of inspections."""
    return {
        "late": {"status": "open", "date_to": day - dt.timedelta(days=1)},
        "today": {"status": "open", "date_from": day, "date_to": day},
        "week": {"status": "open", "date_from": day + dt.timedelta(days=1), "date_to": day + dt.timedelta(days=7)},
        "unassigned": {"status": "open", "assignee_id": None},
    }


def _for_address(filters: dict[str, Any]) -> dict[str, str]:
    return {name: "none" if value is None else str(value) for name, value in filters.items()} | {"sort": "date"}


def _numbers(sight: ColumnElement[bool], day: dt.date) -> dict[str, str]:
    """How many inspections each pile has, as a text; one statement."""
    statement = select(*(_count(sight, filters).label(name) for name, filters in _piles(day).items()))
    row = db.session.execute(statement).one()
    return {name: _told(number) for name, number in row._mapping.items()}


def _count(sight: ColumnElement[bool], filters: dict[str, Any]) -> Any:
    statement = select(Inspection.id).where(sight, *inspection_conditions(filters))
    few = statement.limit(MOST_COUNTED + 1).subquery()
    return select(func.count()).select_from(few).scalar_subquery()


def _told(number: int) -> str:
    return f"{MOST_COUNTED}+" if number > MOST_COUNTED else str(number)


def _due(sight: ColumnElement[bool]) -> list[Any]:
    """The open inspections with the earliest dates."""
    # The index begins with the status: each status is read in its order.
    queries = [_first(sight, status) for status in PENDING_STATUSES]
    rows = [row for query in queries for row in db.session.execute(query)]
    return sorted(rows, key=lambda row: (row.date, row.id))[:MOST_DUE]


def _first(sight: ColumnElement[bool], status: str) -> Select[Any]:
    query = select(*DUE_COLUMNS).where(sight, Inspection.status == status)
    return query.order_by(Inspection.date, Inspection.id).limit(MOST_DUE)


def _changes(user: User) -> Sequence[Any]:
    """The newest changes that the user may see, newest first."""
    newest = select(LedgerEntry.id, LedgerEntry.inspection_id).order_by(LedgerEntry.id.desc())
    window = newest.limit(MOST_LOOKED_THROUGH).subquery()
    visible = select(window.c.id).outerjoin(Inspection, Inspection.id == window.c.inspection_id)
    visible = visible.where(policies.visible(user), window.c.inspection_id.is_not(None))
    ids = db.session.scalars(visible.order_by(window.c.id.desc()).limit(MOST_CHANGES)).all()
    entry, head = LedgerEntry, LedgerOperation
    statement = (
        select(entry.recorded_at, entry.unit_id, entry.action, entry.entity, entry.inspection_id)
        .add_columns(head.door, User.name.label("who"), Inspection.property)
        .outerjoin(head, and_(head.unit_id == entry.unit_id, head.position == entry.position))
        .outerjoin(User, User.id == head.user_id)
        .outerjoin(Inspection, Inspection.id == entry.inspection_id)
        .where(among(entry.id, ids), entry.action.in_(("create", "change", "delete")))
    )
    return db.session.execute(statement.order_by(entry.id.desc())).all()


def _lines(changes: Sequence[Any]) -> Iterator[Line]:
    """The changes as lines: neighbours of one unit of work, action and entity are one."""
    models: list[Any] = [Inspection, *models_shown()]
    nouns = {model.__entity__.name: model.__entity__.noun for model in models}
    alike = groupby(changes, key=lambda change: (change.unit_id, change.action, change.entity))
    for _number, ((_unit, action, entity), group) in zip(range(MOST_LINES), alike, strict=False):
        rows = list(group)
        first = rows[0]
        noun = nouns.get(entity) or entity
        place = (first.inspection_id, first.property)
        yield Line(first.recorded_at, first.who, first.door, action, _(noun), len(rows), *place)
