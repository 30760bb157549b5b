"""Devices as they report themselves, and how many operations came in an hour (contract, section 13)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID, uuid5

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.engine import db
from app.core.database.types import UTCDateTime
from app.core.values import JsonObject

#: The namespace of the ids of devices, made for them.
DEVICES = UUID("5b0c8a3e-52a4-4c53-9d1c-0e0f5a8e7d41")

#: The upper bounds, in seconds, of the columns that count operations by their way's time from device to server.
DELAYS = (60, 600, 3_600, 21_600, 86_400, 172_800, 604_800)


def device_head(user_id: int, device_id: str) -> JsonObject:
    """The columns that name the row of a device. Its id follows from whose it is: two people on one phone have two."""
    return {"id": str(uuid5(DEVICES, f"{user_id}/{device_id}")), "user_id": user_id, "device_id": device_id}


class Device(db.Model):  # type: ignore[name-defined, misc]
    """A device on which somebody has signed in, with its last report. Sizes are in bytes."""

    __tablename__ = "devices"
    __table_args__ = (Index("ix_devices_user_id", "user_id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    #: The UUID that the app made at installation, as sent.
    device_id: Mapped[str] = mapped_column(String(36))
    #: The last report, and the last batch that carried one; None: the app reports nothing.
    reported_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    last_batch_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    app: Mapped[str | None] = mapped_column(String(255))
    app_version: Mapped[str | None] = mapped_column(String(255))
    platform: Mapped[str | None] = mapped_column(String(255))
    name: Mapped[str | None] = mapped_column(String(255))
    waiting_items: Mapped[int | None] = mapped_column(BigInteger)
    waiting_photos: Mapped[int | None] = mapped_column(BigInteger)
    waiting_bytes: Mapped[int | None] = mapped_column(BigInteger)
    oldest_waiting_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    set_aside: Mapped[int | None] = mapped_column(BigInteger)
    storage_used: Mapped[int | None] = mapped_column(BigInteger)
    persisted: Mapped[bool | None]
    #: By how many milliseconds the device's clock was ahead of the server's.
    clock_offset_ms: Mapped[int | None] = mapped_column(BigInteger)
    last_error: Mapped[str | None] = mapped_column(String(500))


class SyncHour(db.Model):  # type: ignore[name-defined, misc]
    """Counts of what devices sent in an hour. Batches that end at once add to rows of their own (`slot`)."""

    __tablename__ = "sync_hours"

    #: `2026-11-27T10/3`: the hour in UTC, and the slot.
    id: Mapped[str] = mapped_column(String(20), primary_key=True)
    hour: Mapped[datetime] = mapped_column(UTCDateTime, index=True)
    batches: Mapped[int] = mapped_column(BigInteger)
    applied: Mapped[int] = mapped_column(BigInteger)
    replayed: Mapped[int] = mapped_column(BigInteger)
    conflicts: Mapped[int] = mapped_column(BigInteger)
    forbidden: Mapped[int] = mapped_column(BigInteger)
    invalid: Mapped[int] = mapped_column(BigInteger)
    not_found: Mapped[int] = mapped_column(BigInteger)
    invalid_type: Mapped[int] = mapped_column(BigInteger)
    handler_failed: Mapped[int] = mapped_column(BigInteger)
    refused_otherwise: Mapped[int] = mapped_column(BigInteger)
    #: Operations applied that came with their device's time, by the time they took; see `DELAYS`.
    delay_1: Mapped[int] = mapped_column(BigInteger)
    delay_2: Mapped[int] = mapped_column(BigInteger)
    delay_3: Mapped[int] = mapped_column(BigInteger)
    delay_4: Mapped[int] = mapped_column(BigInteger)
    delay_5: Mapped[int] = mapped_column(BigInteger)
    delay_6: Mapped[int] = mapped_column(BigInteger)
    delay_7: Mapped[int] = mapped_column(BigInteger)
    delay_8: Mapped[int] = mapped_column(BigInteger)
