"""`fieldpost audit`: the audit log as lines, the oldest entry first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import click
import orjson
from sqlalchemy import tuple_

from app.administration.audit import AUDIT_ORDER, select_audit, serialize_audit
from app.cli.data import user_id_of, with_data
from app.cli.failures import reported_failures
from app.clock import to_wire
from app.core.database.engine import db
from app.core.values import JsonObject
from app.models import ACTIONS, AuditEntry

#: Entries that are read at a time.
PIECE = 1000


@click.command("audit")
@click.option("--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="Only from this moment on, UTC.")
@click.option("--actor", metavar="EMAIL", help="Only what this user has done.")
@click.option("--action", type=click.Choice(ACTIONS), metavar="ACTION", help="Only this, such as `user_created`.")
@click.option("--json", "is_json", is_flag=True, help="A JSON object a line.")
@with_data
@reported_failures()
def audit_command(since: datetime | None, actor: str | None, action: str | None, is_json: bool) -> None:
    """List who has signed in and administered: time, door, person, action, row, details, address."""
    filters = {
        "since": since and since.replace(tzinfo=UTC),
        "actor_id": actor and user_id_of(actor),
        "action": action,
    }
    for entry in _entries(filters):
        click.echo(orjson.dumps(serialize_audit(entry)) if is_json else _line(entry))


def _entries(filters: JsonObject) -> Iterator[AuditEntry]:
    statement = select_audit(filters).order_by(*AUDIT_ORDER).limit(PIECE)
    page = db.session.scalars(statement).all()
    while page:
        db.session.expunge_all()
        yield from page
        last = tuple_(page[-1].at, page[-1].id, types=[column.type for column in AUDIT_ORDER])
        page = db.session.scalars(statement.where(tuple_(*AUDIT_ORDER) > last)).all()


def _line(entry: AuditEntry) -> str:
    """The entry with tabs between its parts, and `-` where there is nothing."""
    row = "-" if entry.entity is None else f"{entry.entity} {entry.entity_id}"
    details = {**entry.details, **({"times": entry.times} if entry.last_at else {})}
    parts = (to_wire(entry.at), entry.door, entry.actor_email, entry.action, row, _told(details), entry.address)
    return "\t".join(part or "-" for part in parts)


def _told(details: JsonObject) -> str:
    return orjson.dumps(details).decode() if details else ""
