"""The audit log as administrators read it, and the exports that are noted in it (contract, section 15)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, select

from app.clock import to_wire
from app.core.ledger.audit import note_alone
from app.core.values import JsonObject, Values
from app.models import AuditEntry
from app.web import origin_of_request, signed_in_user

#: The columns of an entry that are shown as they are.
PLAIN = (
    *("id", "action", "door", "actor_id", "actor_email", "entity", "entity_id"),
    *("details", "address", "device_id", "times"),
)

#: The order of the log, which is usually shown with the newest first.
AUDIT_ORDER = (AuditEntry.at, AuditEntry.id)


def select_audit(filters: Values, *columns: Any) -> Select[Any]:
    """The entries that meet all filters, unordered. `columns`: those to select; whole entries if there are none.

    `filters`: any of `actor_id`, `action`, `since` and `until`, which is no longer part of the period; None: all.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    return select(*(columns or (AuditEntry,))).where(*(_CONDITIONS[name](value) for name, value in given.items()))


def serialize_audit(entry: AuditEntry) -> JsonObject:
    """An entry as a JSON object."""
    return {
        **{name: getattr(entry, name) for name in PLAIN},
        "at": to_wire(entry.at),
        "last_at": None if entry.last_at is None else to_wire(entry.last_at),
    }


def note_export(file: str, filters: Values) -> None:
    """Note that the signed-in user takes a list out of a page. `file`: its name; `filters`: as the address has them."""
    note_alone("exported", origin_of_request("page"), signed_in_user(), file=file, filters=dict(filters))


#: Filter -> its condition.
_CONDITIONS: dict[str, Any] = {
    "actor_id": lambda actor_id: AuditEntry.actor_id == actor_id,
    "action": lambda action: AuditEntry.action == action,
    "since": lambda moment: AuditEntry.at >= moment,
    "until": lambda moment: AuditEntry.at < moment,
}
