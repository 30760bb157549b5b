"""A person's data: all of it as lines of JSON, and its removal with the work kept."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Select, and_, delete, or_, select

from app.accounts.passwords import hash_password
from app.accounts.personal_fields import empty_personal_fields
from app.accounts.users import change_user, erased_email
from app.core.database.engine import db
from app.core.host.registry import current_registry
from app.core.ledger import audit
from app.core.ledger.forget import pseudonymise
from app.core.ledger.record import Origin, Recorder, record
from app.core.ledger.unit import unit_of_work
from app.errors import NotFoundError
from app.models import (
    Attachment,
    AuditEntry,
    Inspection,
    LedgerEntry,
    LedgerOperation,
    Notice,
    RefreshToken,
    SetAside,
    SignIn,
    User,
    UserSync,
)
from app.models.devices import Device

logger = logging.getLogger(__name__)

#: Rows that are read at a time.
PIECE = 1000


def export_person(user_id: int) -> Iterator[dict[str, Any]]:
    """Everything that the server has about a person, row by row; `kind` says what each is. No password's hash."""
    for kind, query in (_queries_of_core(user_id) | _queries_of_plugins(user_id)).items():
        for row in db.session.execute(query, execution_options={"yield_per": PIECE}).mappings():
            # A photo has a kind of its own.
            yield {"kind": kind, **{f"{kind}_kind" if name == "kind" else name: value for name, value in row.items()}}


def _queries_of_core(user_id: int) -> dict[str, Select[Any]]:
    users, operations, entries = User.__table__.c, LedgerOperation.__table__.c, LedgerEntry.__table__.c
    return {
        "user": select(*(column for column in users if column.name != "password_hash")).where(users.id == user_id),
        "sign_in": select(SignIn.__table__).where(SignIn.user_id == user_id),
        "refresh_token": select(RefreshToken.__table__).join(SignIn).where(SignIn.user_id == user_id),
        "device": select(Device.__table__).where(Device.user_id == user_id),
        "last_sync": select(UserSync.__table__).where(UserSync.user_id == user_id),
        "notice": select(Notice.__table__).where(Notice.user_id == user_id),
        "inspection": select(Inspection.__table__).where(
            or_(Inspection.owner_id == user_id, Inspection.assignee_id == user_id)
        ),
        "attachment": select(Attachment.__table__).where(Attachment.uploaded_by_id == user_id),
        "set_aside": select(SetAside.__table__).where(SetAside.user_id == user_id),
        "operation": select(LedgerOperation.__table__).where(operations.user_id == user_id),
        "change": select(LedgerEntry.__table__).where(
            entries.viewer_id.is_(None),
            select(operations.id)
            .where(operations.user_id == user_id, operations.unit_id == entries.unit_id)
            .where(operations.position == entries.position)
            .exists(),
        ),
        "change_of_user": select(LedgerEntry.__table__).where(
            and_(entries.entity == "user", entries.entity_id == str(user_id), entries.viewer_id.is_(None))
        ),
        "sight": select(LedgerEntry.__table__).where(LedgerEntry.viewer_id == user_id),
        # What other people have sent is theirs; that this person has decided it, or read it in, is told.
        "decision": _some(SetAside, "id", "type", "decision", "reason", "settled_at").where(
            SetAside.decided_by_id == user_id
        ),
        "operation_for_others": _some(
            LedgerOperation, "id", "recorded_at", "door", "type", "entity", "entity_id"
        ).where(or_(operations.decided_by_id == user_id, operations.read_in_by_id == user_id)),
        "audit_entry": select(AuditEntry.__table__).where(AuditEntry.actor_id == user_id),
        # Who it was, and from where, is another person's data.
        "audit_entry_of_user": _some(AuditEntry, "at", "action", "details", "times").where(
            *audit.concerns(user_id), AuditEntry.actor_id.is_distinct_from(user_id)
        ),
    }


def _queries_of_plugins(user_id: int) -> dict[str, Select[Any]]:
    """Table -> its rows that name the user by a foreign key."""
    registry = current_registry()
    tables = [db.metadata.tables[name] for plugin in registry.installed for name in registry.tables_of(plugin)]
    naming = {table: [column for column in table.c if column.references(User.__table__.c.id)] for table in tables}
    return {
        table.name: select(table).where(or_(*(column == user_id for column in columns)))
        for table, columns in naming.items()
        if columns
    }


def _some(model: Any, *names: str) -> Select[Any]:
    """Some columns of a model's rows."""
    return select(*(model.__table__.c[name] for name in names))


class Erased(NamedTuple):
    """A person's erasure."""

    #: The address that stands in place of the person's.
    email: str
    #: Entity -> the number of its rows in which personal fields were emptied.
    emptied: dict[str, int]
    #: Plugin -> the number of things that it has removed.
    removed: dict[str, int]
    #: Plugin -> the error because of which it has not.
    failed: dict[str, Exception]


def erase_person(origin: Origin, user_id: int) -> Erased:
    """Take a person's name, address, password, sign-ins and devices away, and keep the work.

    Plugins' rows lose the fields that tell of the person, and plugins are asked to remove everything else that they
    keep. Raises `NotFoundError`, and `InvalidError` for the last active administrator. Doing it again does no harm.
    """
    row = {"email": erased_email(user_id), "name": f"Erased user {user_id}"}
    change_user(origin, user_id, {"active": False})

    def work(recorder: Recorder) -> None:
        user = recorder.session.get(User, user_id, with_for_update=True, populate_existing=True)
        if user is None:
            raise NotFoundError("User not found")
        recorder.change(user, {**row, "password_hash": hash_password(secrets.token_urlsafe(32))})
        audit.note("user_erased", origin, recorder.user, ("user", user_id))

    record("user_erase", origin, work)
    unit_of_work(lambda _unit_id: _end(user_id, row["email"]))
    pseudonymise(user_id, row)
    return Erased(row["email"], empty_personal_fields(origin, user_id), *_ask_plugins(user_id))


def _ask_plugins(user_id: int) -> tuple[dict[str, int], dict[str, Exception]]:
    """Let each plugin remove what it keeps of the user. One that fails keeps none of the others from it."""
    removed: dict[str, int] = {}
    failed: dict[str, Exception] = {}
    for plugin in current_registry().plugins.values():
        try:
            if plugin.erase is not None:
                removed[plugin.name] = plugin.erase(user_id)
        except Exception as error:  # a plugin's own code
            logger.exception("erase failed", extra={"plugin": plugin.name})
            failed[plugin.name] = error
        finally:
            db.session.remove()
    return removed, failed


def _end(user_id: int, email: str) -> None:
    audit.forget_person(user_id, email)
    for model in (SignIn, Device, UserSync, Notice):
        statement = delete(model).where(model.user_id == user_id)
        db.session.execute(statement, execution_options={"synchronize_session": False})
