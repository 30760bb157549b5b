"""Items of devices that were not applied, kept until somebody decides (contract, section 12)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.engine import db
from app.core.database.types import BigId, JSONValue, UTCDateTime
from app.core.values import JsonObject

#: The rows that may still be open, and the others.
UNSETTLED, SETTLED = text("settled_at IS NULL"), text("settled_at IS NOT NULL")


class SetAside(db.Model):  # type: ignore[name-defined, misc]
    """One item that was refused or met a conflict, however often it was sent: its key follows from its identity.

    No foreign keys, because a batch must never fail for a row that goes away meanwhile. Whether it is open is derived
    from the ledger (`app.core.ledger.set_aside`).
    """

    __tablename__ = "set_aside"
    __table_args__ = (
        Index(None, "inspection_id"),
        # Lists in their order. The type stands behind it, so that rows of other types need not be read. Lists of all
        # rows read this index and that of open items, because to keep one more would cost batches more.
        Index(
            "ix_set_aside_settled",
            "first_at",
            "id",
            "decision",
            "type",
            postgresql_where=SETTLED,
            sqlite_where=SETTLED,
        ),
        # A sender's list of open items, and its size.
        Index(
            "ix_set_aside_unsettled",
            "user_id",
            "first_at",
            "id",
            "item_bytes",
            postgresql_where=UNSETTLED,
            sqlite_where=UNSETTLED,
        ),
        # Lists of open items, of all codes and of one. Most rows may have been settled since.
        Index("ix_set_aside_waiting", "first_at", "id", "type", postgresql_where=UNSETTLED, sqlite_where=UNSETTLED),
        Index(
            "ix_set_aside_waiting_code",
            "code",
            "first_at",
            "id",
            "type",
            postgresql_where=UNSETTLED,
            sqlite_where=UNSETTLED,
        ),
    )

    #: The user's id and the beginning of the SHA-256 of user, device, local_id and fingerprint, both in hex.
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: The identity, as the ledger's operation has it.
    user_id: Mapped[int] = mapped_column(BigId)
    device_id: Mapped[str] = mapped_column(String(36))
    local_id: Mapped[str] = mapped_column(String(255))
    #: A hash of the whole element, where the item has no fingerprint because it lacks its type or payload.
    fingerprint: Mapped[str] = mapped_column(String(64))
    #: The handler's type; as sent where there is no handler.
    type: Mapped[str] = mapped_column(String(255))
    #: The item's place in the batch that first brought it.
    position: Mapped[int]
    #: `conflict` or `refused`, with the latest answer's code, sentences and details. A conflict's code is `conflict`.
    outcome: Mapped[str] = mapped_column(String(16))
    code: Mapped[str] = mapped_column(Text)
    error: Mapped[str] = mapped_column(Text)
    message: Mapped[str] = mapped_column(Text)
    details: Mapped[JsonObject | None] = mapped_column(JSONValue)
    retryable: Mapped[bool]
    #: The row and its inspection, as far as they are known.
    entity: Mapped[str | None] = mapped_column(String(64))
    entity_id: Mapped[str | None] = mapped_column(String(36))
    inspection_id: Mapped[int | None] = mapped_column(BigId)
    #: The whole item as sent. None: it was too large or its sender had no room left, or it is no longer needed.
    item: Mapped[JsonObject | None] = mapped_column(JSONValue)
    is_cut: Mapped[bool]
    #: For a conflict: the values of the fields that were sent, in the item, in the base and on the server.
    seen: Mapped[JsonObject | None] = mapped_column(JSONValue)
    #: For a conflict: the version of the row that the item met.
    seen_version: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: The bytes of `item` and `seen`.
    item_bytes: Mapped[int]
    first_at: Mapped[datetime] = mapped_column(UTCDateTime)
    last_at: Mapped[datetime] = mapped_column(UTCDateTime)
    #: How often it was sent; several times within a minute count once.
    times: Mapped[int]
    #: `applied`, `changed` or `discarded` by somebody in the office.
    decision: Mapped[str | None] = mapped_column(String(16))
    decided_by_id: Mapped[int | None] = mapped_column(BigId)
    reason: Mapped[str | None] = mapped_column(Text)
    #: When it was decided, or when the upkeep has noticed that its device has solved it.
    settled_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
