"""Attachments: photos and signatures. A row here, the bytes in the storage."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database.engine import db
from app.core.database.types import BigId, JSONValue, UTCDateTime
from app.core.values import JsonObject
from app.models.base import Syncable, choice_constraint
from app.plugin_api import Entity, Label

#: The kinds of attachments.
KINDS = ("photo", "signature")


def attachment_record(attachment: Attachment) -> JsonObject:
    """An attachment as it goes to a device (contract, section 6)."""
    return {
        "id": attachment.id,
        "form_fill_id": attachment.form_fill_id,
        "kind": attachment.kind,
        "field_name": attachment.field_name,
        "filename": attachment.filename,
        "content_type": attachment.content_type,
        "byte_size": attachment.byte_size,
        "width": attachment.width,
        "height": attachment.height,
        "sha256": attachment.sha256,
        "url": f"/api/v1/attachments/{attachment.id}",
    }


def title_of_attachment(attachment: Attachment) -> str:
    """The name of the file where the device has sent one, otherwise that of the field."""
    return attachment.filename or attachment.field_name


def labels_of_attachment(_attachment: Attachment) -> list[Label]:
    """The kind and the field; a plugin's notes stand below them."""
    kinds = [(kind, kind.capitalize()) for kind in KINDS]
    return [
        Label(name="kind", label="Kind", kind="choice", options=kinds),
        Label(name="field_name", label="Field"),
    ]


class Attachment(Syncable, db.Model):  # type: ignore[name-defined, misc]
    """A photo or a signature of one field of one form fill. Deleted ones stay as marked rows (section 4)."""

    __tablename__ = "attachments"
    __table_args__ = (
        choice_constraint("kind", KINDS),
        UniqueConstraint("form_fill_id", "position"),
        # The bytes that each user has here are summed up from this index alone.
        Index("ix_attachments_use", "uploaded_by_id", "deleted_at", "byte_size"),
    )
    __entity__ = Entity(
        name="attachment",
        label="Attachment",
        noun="attachment",
        unrecorded=(
            "position", "filename", "content_type", "byte_size", "width", "height", "storage_key", "uploaded_by_id",
        ),
        document="data",
        identity=("inspection_id", "form_fill_id"),
        record=attachment_record,
        title=title_of_attachment,
        labels=labels_of_attachment,
    )  # fmt: skip

    #: A random UUID: unguessable, and never given twice, not even after a restore.
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    #: No foreign keys here: the row outlives its form fill and inspection until its bytes are collected.
    inspection_id: Mapped[int] = mapped_column(BigId, index=True)
    form_fill_id: Mapped[int] = mapped_column(BigId)
    kind: Mapped[str] = mapped_column(String(16))
    field_name: Mapped[str] = mapped_column(String(255))
    #: Order of upload within the form fill, counted under its lock.
    position: Mapped[int]
    filename: Mapped[str | None] = mapped_column(String(255))
    content_type: Mapped[str] = mapped_column(String(64))
    byte_size: Mapped[int] = mapped_column(BigId)
    width: Mapped[int]
    height: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    storage_key: Mapped[str] = mapped_column(String(255), unique=True)
    uploaded_by_id: Mapped[int] = mapped_column(BigId)
    #: Plugins' notes about the attachment.
    data: Mapped[JsonObject] = mapped_column(JSONValue, default=dict)
    deleted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
