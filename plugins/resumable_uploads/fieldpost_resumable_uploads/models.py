"""The plugin's tables: uploads, and the parts that have arrived of them.

Their rows are bookkeeping, nobody's work: they carry no `__entity__`, so neither ledger nor feed knows them.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models import KEEP_IDS, BigId, UTCDateTime, db


class ResumableUpload(db.Model):  # type: ignore[name-defined, misc]
    """One upload: announced, under way, or complete."""

    __tablename__ = "resumable_uploads"

    #: A random UUID; it stands in the upload's address.
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    #: `Upload-Metadata` as the client sent it, for it is to be answered unchanged.
    sent_metadata: Mapped[str] = mapped_column(Text)
    #: How many bytes were announced.
    byte_size: Mapped[int] = mapped_column(BigId)
    #: How many of them are kept, from the first on; `byte_size` once the attachment exists, and never before.
    received: Mapped[int] = mapped_column(BigId, default=0)
    #: What the upload has become; None: it is not complete.
    attachment_id: Mapped[str | None] = mapped_column(String(36))
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)


class Part(db.Model):  # type: ignore[name-defined, misc]
    """A stretch of an upload that has arrived; its bytes are an object in the storage."""

    __tablename__ = "resumable_uploads_parts"
    __table_args__ = (UniqueConstraint("upload_id", "start"), KEEP_IDS)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("resumable_uploads.id", ondelete="CASCADE"))
    #: Where in the upload it begins. The parts of an upload follow one another without gaps.
    start: Mapped[int] = mapped_column(BigId)
    byte_size: Mapped[int] = mapped_column(BigId)
    storage_key: Mapped[str] = mapped_column(String(255), unique=True)
