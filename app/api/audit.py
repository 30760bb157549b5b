"""`GET /audit`: who has signed in and administered, for administrators (contract, section 15)."""

from __future__ import annotations

from typing import Any

from flask import Response
from marshmallow import Schema, fields, validate
from sqlalchemy import ColumnElement, tuple_

from app.administration.audit import AUDIT_ORDER, select_audit, serialize_audit
from app.administration.fields import QueryNumber, StorableText, read_next, row_id, write_next
from app.api.blueprint import admins_only
from app.api.paging import DEFAULT, MAX
from app.core.database.engine import db
from app.core.values import TimestampField, Values, read_id
from app.models import ACTIONS
from app.openapi.shapes import ID, OBJECT, TEXT, TIME, Named, array_of, nullable, obj, with_description
from app.web import RestBlueprint, answer, described

blueprint = RestBlueprint("audit", __name__, description="Who has signed in and administered")

ENTRY = Named(
    "AuditEntry",
    obj(
        id=ID,
        at=TIME,
        action=with_description(TEXT, f"One of {', '.join(f'`{action}`' for action in ACTIONS)}; more may come."),
        door=with_description(TEXT, "The way it came in, as in the history."),
        actor_id=with_description(nullable(ID), "Null: the command line, or somebody who was not signed in."),
        actor_email=with_description(nullable(TEXT), "The address as it was then."),
        entity=with_description(nullable(TEXT), "The row that it was done to, where there is one."),
        entity_id=nullable(TEXT),
        details=OBJECT,
        address=with_description(nullable(TEXT), "The client's network address."),
        device_id=nullable(TEXT),
        times=with_description(ID, "How often, where a day's tries are one entry."),
        last_at=with_description(nullable(TIME), "The latest of these tries."),
    ),
)
LIST = obj(audit=array_of(ENTRY), next=with_description(nullable(TEXT), "For `after`; null on the last page."))


class AuditQuerySchema(Schema):
    """The query parameters of `GET /audit`."""

    actor_id = row_id()
    action = fields.String(validate=validate.OneOf(ACTIONS))
    since = TimestampField(data_key="from")
    until = TimestampField(data_key="to")
    after = StorableText(validate=validate.Length(max=255))
    per_page = QueryNumber(load_default=DEFAULT, validate=validate.Range(1, MAX))


@blueprint.get("/audit")
@described(data=LIST, errors=("forbidden",))
@admins_only
@blueprint.query(AuditQuerySchema)
def list_audit(query: Values) -> Response:
    """The audit log, newest entries first. `to` is no longer part of the period."""
    filters = {name: value for name, value in query.items() if name not in ("after", "per_page")}
    statement = select_audit(filters).order_by(*(column.desc() for column in AUDIT_ORDER))
    if "after" in query:
        statement = statement.where(tuple_(*AUDIT_ORDER) < _place(query["after"]))
    entries = db.session.scalars(statement.limit(query["per_page"] + 1)).all()
    shown = entries[: query["per_page"]]
    has_more = len(entries) > len(shown)
    page = {
        "audit": [serialize_audit(entry) for entry in shown],
        "next": write_next(shown[-1].at, shown[-1].id) if has_more else None,
    }
    return answer(page, "Entries retrieved successfully")


def _place(after: str) -> ColumnElement[Any]:
    """The place of an entry in the order of the log. Raises `InvalidError`."""
    return tuple_(*read_next(after, read_id), types=[column.type for column in AUDIT_ORDER])
