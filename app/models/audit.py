"""The audit log: who has signed in and administered, when and from where (contract, section 15)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.engine import db
from app.core.database.types import KEEP_IDS, BigId, JSONValue, UTCDateTime
from app.core.values import JsonObject

#: What an entry can tell of.
ACTIONS = (
    *("signed_in", "sign_in_failed", "sign_in_throttled", "refresh_token_reused", "signed_out", "sign_ins_ended"),
    *("password_changed", "password_change_failed", "password_set"),
    *("user_created", "user_renamed", "user_role_changed"),
    *("user_deactivated", "user_reactivated", "user_erased", "user_exported"),
    *("form_template_created", "inspection_assigned", "inspections_assigned"),
    *("inspection_deleted", "inspection_expired"),
    *("set_aside_decided", "rescue_read_in", "exported", "customer_archived", "values_forgotten"),
)


class AuditEntry(db.Model):  # type: ignore[name-defined, misc]
    """One thing that somebody has done, or some that strangers have tried.

    It has no foreign keys: it outlives what it tells of.
    """

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index(None, "at", "id"),
        Index(None, "actor_id", "at", "id"),
        Index(None, "action", "at", "id"),
        KEEP_IDS,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UTCDateTime)
    #: One of `ACTIONS`.
    action: Mapped[str] = mapped_column(String(32))
    #: The door through which it came, as in the ledger.
    door: Mapped[str] = mapped_column(String(16))
    #: Who did it; None: the command line, or somebody who was not signed in.
    actor_id: Mapped[int | None] = mapped_column(BigId)
    #: The address as it was then.
    actor_email: Mapped[str | None] = mapped_column(String(255))
    #: The row that it was done to, where there is one.
    entity: Mapped[str | None] = mapped_column(String(64))
    entity_id: Mapped[str | None] = mapped_column(String(64))
    details: Mapped[JsonObject] = mapped_column(JSONValue)
    #: The network address of the client, and the device of its sign-in.
    address: Mapped[str | None] = mapped_column(String(64))
    device_id: Mapped[str | None] = mapped_column(String(36))
    #: How often it happened, and when the last time, where a day's tries are one entry; `tally` says which tries.
    times: Mapped[int] = mapped_column(default=1)
    last_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    tally: Mapped[str | None] = mapped_column(String(80), unique=True)
