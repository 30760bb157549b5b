"""*Audit log*: who has signed in and administered, for administrators."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from flask import Response, request
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate
from sqlalchemy import select

from app.administration import require_admin, select_audit, words
from app.models import ACTIONS, AuditEntry, User, db
from app.pages import render
from app.web import signed_in_user
from fieldpost_console.pages.blueprint import MOST_ID, blueprint
from fieldpost_console.pages.keyset import Keys, read_key_page
from fieldpost_console.pages.people import names_with_ids, people

COLUMNS = (
    *(AuditEntry.id, AuditEntry.at, AuditEntry.last_at, AuditEntry.times, AuditEntry.action, AuditEntry.door),
    *(AuditEntry.actor_id, AuditEntry.actor_email, AuditEntry.entity, AuditEntry.entity_id),
    *(AuditEntry.details, AuditEntry.address),
)

NEWEST_FIRST = Keys((AuditEntry.at, AuditEntry.id), is_descending=True)


#: The years that a filter may name.
WITHIN = validate.Range(dt.date(2000, 1, 1), dt.date(2099, 12, 31))


class AuditFilterSchema(Schema):
    """The filters of the page. The days are those of UTC."""

    class Meta:
        unknown = EXCLUDE

    actor_id = fields.Integer(validate=validate.Range(1, MOST_ID))
    action = fields.String(validate=validate.OneOf(ACTIONS))
    date_from = fields.Date(validate=WITHIN)
    date_to = fields.Date(validate=WITHIN)


@blueprint.get("/audit")
def audit_log() -> Response:
    """The entries that meet the filters, newest first, fifty on a page."""
    require_admin(signed_in_user())
    given = {name: value for name, value in request.args.items() if value and name in AuditFilterSchema().fields}
    filters, faults = _read(given)
    statement = select_audit(_in_moments(filters), *COLUMNS)
    page = read_key_page(db.session(), statement, NEWEST_FIRST)
    return render(
        "console/audit.html",
        400 if faults else 200,
        page=page,
        given=given,
        faults=faults,
        names=_names(page.rows),
        people=_actors(filters.get("actor_id")),
        words=words,
    )


def _read(given: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The filters, and the faults of those that mean nothing, which do not count."""
    try:
        return AuditFilterSchema().load(given), {}
    except ValidationError as error:
        return dict(error.valid_data), error.messages_dict  # type: ignore[arg-type]


def _in_moments(filters: dict[str, Any]) -> dict[str, Any]:
    """The filters with moments in place of days; the last day is part of the period."""
    first, last = filters.get("date_from"), filters.get("date_to")
    moments = {"since": first and _start_of(first), "until": last and _start_of(last) + dt.timedelta(days=1)}
    return moments | {name: filters[name] for name in ("actor_id", "action") if name in filters}


def _start_of(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def _actors(chosen: int | None) -> list[tuple[int, str]]:
    """Id and name of the people to choose from, and of the chosen one, who may be deactivated."""
    known = people()
    if chosen is None or chosen in dict(known):
        return known
    name = db.session.scalar(select(User.name).where(User.id == chosen))
    return [*known, (chosen, name or str(chosen))]


def _names(rows: Sequence[Any]) -> dict[str, str]:
    """The names of the users whom the entries are about or name, by id."""
    ids = {int(row.entity_id) for row in rows if row.entity == "user"}
    ids |= {row.details[name] for row in rows for name in ("owner_id", "assignee_id") if row.details.get(name)}
    return {str(key): name for key, name in names_with_ids(ids).items()}
