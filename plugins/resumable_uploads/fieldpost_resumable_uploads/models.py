"""The plugin's tables: uploads, and the parts of them that have arrived.

Their rows are bookkeeping. They have no `__entity__`, so neither ledger nor feed knows them.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models import KEEP_IDS, BigId, UTCDateTime, db


class ResumableUpload(db.Model):  # type: ignore[name-defined, misc]
    """An upload: announced, under way, or complete."""

    __tablename__ = "resumable_uploads"

    #: A random UUID, which is part of the upload's address.
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    #: `Upload-Metadata` as the client sent it; answers repeat it unchanged.
    sent_metadata: Mapped[str] = mapped_column(Text)
    #: The number of announced bytes.
    byte_size: Mapped[int] = mapped_column(BigId)
    #: The number of bytes kept, from the first on. It equals `byte_size` only if the attachment exists.
    received: Mapped[int] = mapped_column(BigId, default=0)
    #: The attachment that the upload has become; None until it is complete.
    attachment_id: Mapped[str | None] = mapped_column(String(36))
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)


class Part(db.Model):  # type: ignore[name-defined, misc]
    """A part of an upload that has arrived. Its bytes are an object in the storage."""

    __tablename__ = "resumable_uploads_parts"
    __table_args__ = (UniqueConstraint("upload_id", "start"), KEEP_IDS)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("resumable_uploads.id", ondelete="CASCADE"))
    #: The offset of its first byte. The parts of an upload follow one another without gaps.
    start: Mapped[int] = mapped_column(BigId)
    byte_size: Mapped[int] = mapped_column(BigId)
    storage_key: Mapped[str] = mapped_column(String(255), unique=True)
