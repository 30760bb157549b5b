"""The ledger's tables. Rows are only ever added; retries, history, merge base and change feed all read them.

One head row an operation (`LedgerOperation`), always written, and one row a changed row (`LedgerEntry`);
beside it an entry for each user who gains or loses sight of an inspection. Only `app.core.ledger` writes them.
No foreign keys to targets: the ledger outlives the rows it tells of.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from sqlalchemy import BigInteger, FetchedValue, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.engine import db
from app.core.database.types import KEEP_IDS, BigId, JSONValue, UTCDateTime
from app.core.values import JsonObject

#: The entries that tell of somebody's sight.
OF_SIGHT = text("viewer_id IS NOT NULL")

#: The entries that tell of a deleted row which a device may know by its client_id.
OF_CLIENT_IDS = text("client_id IS NOT NULL")

#: The operations that changed nothing, which have no entry.
UNCHANGED = text("version_before = version_after")

#: The operations that the office has decided in the sender's place.
DECIDED = text("decided_by_id IS NOT NULL")


class LedgerOperation(db.Model):  # type: ignore[name-defined, misc]
    """One applied operation: who, from which device, when, and the outcome that every retry is answered with."""

    __tablename__ = "ledger_operations"
    __table_args__ = (
        UniqueConstraint("user_id", "device_id", "local_id", "fingerprint"),
        UniqueConstraint("unit_id", "position"),
        # Few operations change nothing: the index holds those alone, and the others cost it nothing.
        Index(
            "ix_ledger_operations_unchanged",
            "user_id",
            "entity",
            "entity_id",
            postgresql_where=UNCHANGED,
            sqlite_where=UNCHANGED,
        ),
        # The feed asks it about each change; most servers have few decisions, or none.
        Index(
            "ix_ledger_operations_decided",
            "unit_id",
            "position",
            "decided_by_id",
            postgresql_where=DECIDED,
            sqlite_where=DECIDED,
        ),
        KEEP_IDS,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    #: The transaction that wrote it: PostgreSQL's own number, filled by the database; 0 on SQLite.
    xid: Mapped[int] = mapped_column(BigInteger, server_default=FetchedValue())
    #: The unit of work, and the operation's place in it.
    unit_id: Mapped[str] = mapped_column(String(32))
    position: Mapped[int]
    recorded_at: Mapped[datetime] = mapped_column(UTCDateTime)
    #: The door through which it came: `sync`, `rescue`, `upload`, `rest`, `page`, `office` or `cli`.
    door: Mapped[str] = mapped_column(String(16))
    #: None: the command line.
    user_id: Mapped[int | None] = mapped_column(BigId)
    #: Empty where the sign-in named no device, so that the uniqueness of a retry holds for it too.
    device_id: Mapped[str] = mapped_column(String(36))
    local_id: Mapped[str | None] = mapped_column(String(255))
    #: The operation's type, or the action through another door, such as `inspection_change`.
    type: Mapped[str] = mapped_column(String(255))
    #: SHA-256 over type and payload as sent (contract, section 3.2); None for other doors.
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    #: The row that it was about, and its versions; the same twice where nothing changed.
    entity: Mapped[str | None] = mapped_column(String(64))
    entity_id: Mapped[str | None] = mapped_column(String(36))
    version_before: Mapped[datetime | None] = mapped_column(UTCDateTime)
    version_after: Mapped[datetime | None] = mapped_column(UTCDateTime)
    message: Mapped[str | None] = mapped_column(String(255))
    result: Mapped[JsonObject | None] = mapped_column(JSONValue)
    #: When the change was made by the device's own clock, and what the app notes about it (contract, section 3.2).
    made_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    meta: Mapped[JsonObject | None] = mapped_column(JSONValue)
    #: Who in the office decided it in the sender's place (contract, section 12); None: the sender's own.
    decided_by_id: Mapped[int | None] = mapped_column(BigId)
    #: The administrator who has read in the sender's rescue file; None: it came from the sender.
    read_in_by_id: Mapped[int | None] = mapped_column(BigId)


class LedgerEntry(db.Model):  # type: ignore[name-defined, misc]
    """One changed row, or one user's sight of an inspection gained or lost."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        Index(None, "xid", "id"),
        Index(None, "inspection_id", "xid", "id"),
        # Few entries have a viewer: the index holds those alone, and the others cost it nothing.
        Index("ix_ledger_entries_sight", "viewer_id", "xid", "id", postgresql_where=OF_SIGHT, sqlite_where=OF_SIGHT),
        Index(None, "entity", "entity_id", "id"),
        Index("ix_ledger_entries_client_id", "client_id", postgresql_where=OF_CLIENT_IDS, sqlite_where=OF_CLIENT_IDS),
        KEEP_IDS,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    xid: Mapped[int] = mapped_column(BigInteger, server_default=FetchedValue())
    #: Random: a feed cursor names it, so that one from another history of this database is noticed.
    tag: Mapped[int] = mapped_column(BigInteger)
    unit_id: Mapped[str] = mapped_column(String(32))
    position: Mapped[int]
    recorded_at: Mapped[datetime] = mapped_column(UTCDateTime)
    #: `create`, `change` or `delete` of a row; `gain` or `loss` of a user's sight of an inspection.
    action: Mapped[str] = mapped_column(String(16))
    entity: Mapped[str] = mapped_column(String(64))
    entity_id: Mapped[str] = mapped_column(String(36))
    #: The root that decides who sees it; None for users and form templates.
    inspection_id: Mapped[int | None] = mapped_column(BigId)
    #: Whose sight changed; only where `action` is `gain` or `loss`.
    viewer_id: Mapped[int | None] = mapped_column(BigId)
    version_before: Mapped[datetime | None] = mapped_column(UTCDateTime)
    version_after: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: `{field: {"old": value, "new": value}}`; a key that is missing says that the field was absent.
    changes: Mapped[dict[str, JsonObject]] = mapped_column(JSONValue)
    #: The client_id of a row that was deleted, where it had one: devices may know the row by it alone.
    client_id: Mapped[str | None] = mapped_column(String(36))


#: The two tables that are written by each change and pruned together.
LedgerTable: TypeAlias = type[LedgerOperation] | type[LedgerEntry]


class LedgerState(db.Model):  # type: ignore[name-defined, misc]
    """One row: which history of this database the feed tells, and up to where it has been pruned."""

    __tablename__ = "ledger_state"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    generation: Mapped[str] = mapped_column(String(32))
    #: The PostgreSQL cluster whose transaction ids the ledger's are, to notice a move to another; empty on SQLite.
    cluster: Mapped[str] = mapped_column(String(32))
    pruned_xid: Mapped[int] = mapped_column(BigInteger)
    pruned_id: Mapped[int] = mapped_column(BigInteger)
