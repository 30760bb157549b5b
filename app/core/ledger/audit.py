"""The audit log: an entry is written in the unit of work of what it tells of, so that neither is without the other.

Batches of devices note nothing: the ledger tells of them. What strangers can bring about is counted instead, in one
entry an account and day.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

from flask import request
from sqlalchemy import ColumnElement, delete, insert, update
from sqlalchemy.exc import IntegrityError

from app.clock import now
from app.core.database import database_of
from app.core.database.engine import db
from app.core.database.rows import table_of
from app.core.database.write import Write
from app.core.ledger.record import Origin
from app.core.ledger.unit import RaceError, unit_of_work
from app.core.values import JsonObject
from app.models import AuditEntry, User

#: An entity and the id of its row.
About: TypeAlias = tuple[str, object]

#: For statements over many rows: no object in the session is brought up to date.
PLAIN = {"synchronize_session": False}


def note(action: str, origin: Origin, actor: User | None, about: About | None = None, **details: Any) -> None:
    """Write an entry in the present unit of work. `action`: one of `ACTIONS`; `details` are small.

    `actor`: who did it; None: the command line, or somebody who was not signed in.
    """
    session = db.session()
    database_of(session).write(session.connection(), [entry(action, origin, actor, about, **details)])


def entry(action: str, origin: Origin, actor: User | None, about: About | None = None, **details: Any) -> Write:
    """The same as a write, for units that send all of their writes together."""
    values = {**_values(action, origin.door, about, details), **_columns_of(actor), "device_id": origin.device_id}
    return Write(kind="insert", table=table_of(AuditEntry), names=tuple(values), rows=[values])


def note_alone(action: str, origin: Origin, actor: User | None, about: About | None = None, **details: Any) -> None:
    """Write an entry about something that changes no row, such as an export, in a unit of work of its own."""
    unit_of_work(lambda _unit_id: note(action, origin, actor, about, **details))


def count_try(action: str, door: str, user_id: int | None, actor: User | None = None) -> None:
    """Count a try on an account; all tries on accounts that are not there are counted together.

    A day's tries are one entry, with the address of the latest. In a unit of work of its own.
    `actor`: None: somebody who was not signed in.
    """
    moment = now()
    about = None if user_id is None else ("user", user_id)
    values = {**_values(action, door, about, {}), **_columns_of(actor), "last_at": moment}
    tally = f"{action}/{door}/{'-' if user_id is None else user_id}/{moment:%Y-%m-%d}"
    again = {"times": AuditEntry.times + 1, "last_at": moment, "address": values["address"]}

    def work(_unit_id: str) -> None:
        counted = update(AuditEntry).where(AuditEntry.tally == tally).values(again)
        if db.session.execute(counted, execution_options=PLAIN).rowcount:  # type: ignore[attr-defined]
            return
        try:
            db.session.execute(insert(table_of(AuditEntry)), [{**values, "tally": tally}])
        except IntegrityError as error:
            raise RaceError("somebody else has just counted the first try of the day") from error

    unit_of_work(work)


def forget_person(user_id: int, email: str) -> None:
    """In the present unit of work, put another address in place of a person's; networks and devices are removed."""
    places = {"address": None, "device_id": None}
    own = update(AuditEntry).where(AuditEntry.actor_id == user_id).values(actor_email=email, **places)
    # Tries on the account, which may have been the person's own.
    tries = update(AuditEntry).where(*concerns(user_id), AuditEntry.actor_id.is_(None)).values(places)
    for statement in (own, tries):
        db.session.execute(statement, execution_options=PLAIN)


def concerns(user_id: int) -> tuple[ColumnElement[bool], ...]:
    """The conditions of the entries about a user, no matter who has acted."""
    return AuditEntry.entity == "user", AuditEntry.entity_id == str(user_id)


def remove_before(moment: datetime) -> int:
    """Remove the entries from before `moment`; returns how many."""
    statement = delete(AuditEntry).where(AuditEntry.at < moment)

    def work(_unit_id: str) -> int:
        return int(db.session.execute(statement, execution_options=PLAIN).rowcount)  # type: ignore[attr-defined]

    return unit_of_work(work)


def _values(action: str, door: str, about: About | None, details: JsonObject) -> dict[str, Any]:
    """The columns of a new entry that do not depend on who it was."""
    entity, key = (None, None) if about is None else about
    return {
        "at": now(),
        "action": action,
        "door": door,
        "entity": entity,
        "entity_id": None if key is None else str(key),
        "details": details,
        "address": (request.remote_addr or "")[:64] or None if request else None,
        "times": 1,
    }


def _columns_of(actor: User | None) -> dict[str, Any]:
    return {} if actor is None else {"actor_id": actor.id, "actor_email": actor.email}
