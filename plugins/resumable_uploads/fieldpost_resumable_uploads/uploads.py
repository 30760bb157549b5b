"""The rows of uploads, and the objects with the bytes that have arrived.

Functions that change rows get the session of a unit of work, and decide on locked rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, delete, func, select
from sqlalchemy.orm import Session

from app.attachments import current_storage, drop_object, new_key
from app.errors import NotFoundError
from app.models import User, db
from fieldpost_resumable_uploads.faults import OffsetConflictError
from fieldpost_resumable_uploads.models import Part, ResumableUpload

#: Bytes are put into the storage whenever this many have arrived, so that a hanging connection or a killed server loses
#: no more. A shorter part is joined with the bytes after it, so that an upload never has many parts.
PART_BYTES = 1024 * 1024

#: The least bytes that an unfinished upload counts for. It has rows and an object of its own, however small it is.
LEAST_COUNTED = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Bytes that are in the storage already, and their offset in the upload."""

    start: int
    byte_size: int
    storage_key: str


def parts_of(upload_id: str, offset: int) -> list[Stretch]:
    """The parts of an upload at `offset`, in order, read in a separate transaction.

    Raises `OffsetConflictError` if the upload is at another offset. As long as `locked` finds it at `offset`, these are
    its parts.
    """
    rows = db.session.scalars(select(Part).where(Part.upload_id == upload_id).order_by(Part.start))
    parts = [Stretch(start=row.start, byte_size=row.byte_size, storage_key=row.storage_key) for row in rows]
    db.session.remove()
    if sum(part.byte_size for part in parts) != offset:
        raise OffsetConflictError()
    return parts


def content(parts: Sequence[Stretch]) -> Iterator[bytes]:
    """The bytes of consecutive parts, piece by piece. Raises `MissingObjectError`."""
    for part in parts:
        yield from current_storage().open(part.storage_key)


def keep(start: int, data: bytes) -> Stretch:
    """Put bytes into the storage."""
    key = new_key(".part")
    current_storage().put(key, data)
    return Stretch(start=start, byte_size=len(data), storage_key=key)


def drop(keys: Sequence[str]) -> None:
    """Delete objects that no row names any more."""
    for key in keys:
        drop_object(key)


def pending_bytes(session: Session, user_id: int, moment: datetime) -> int:
    """The bytes that the user's unfinished uploads count for. Locks the user, so that requests count each other."""
    session.execute(select(User.id).where(User.id == user_id).with_for_update(key_share=True))
    size = ResumableUpload.byte_size
    counted = case((size < LEAST_COUNTED, LEAST_COUNTED), else_=size)
    statement = select(func.sum(counted)).where(
        ResumableUpload.user_id == user_id,
        ResumableUpload.attachment_id.is_(None),
        ResumableUpload.expires_at > moment,
    )
    return int(session.scalar(statement) or 0)


def locked(session: Session, upload_id: str, offset: int) -> ResumableUpload:
    """The upload, locked. Raises `OffsetConflictError` unless it is at `offset`: requests cannot mix their bytes."""
    statement = select(ResumableUpload).where(ResumableUpload.id == upload_id).with_for_update()
    upload: ResumableUpload | None = session.scalar(statement, execution_options={"populate_existing": True})
    if upload is None:
        raise NotFoundError("Upload not found")
    if upload.received != offset:
        raise OffsetConflictError()
    return upload


def append(session: Session, upload: ResumableUpload, part: Stretch, replaced: Stretch | None) -> None:
    """Add `part` to the locked upload, in place of `replaced` if given."""
    if replaced is not None:
        session.execute(delete(Part).where(Part.storage_key == replaced.storage_key))
    session.add(
        Part(upload_id=upload.id, start=part.start, byte_size=part.byte_size, storage_key=part.storage_key),
    )
    upload.received = part.start + part.byte_size


def complete(session: Session, upload: ResumableUpload, attachment_id: str) -> None:
    """Mark the locked upload as complete, and delete its parts, which are no longer needed."""
    session.execute(delete(Part).where(Part.upload_id == upload.id))
    upload.received = upload.byte_size
    upload.attachment_id = attachment_id


def remove(session: Session, upload_ids: Sequence[str]) -> list[str]:
    """Delete uploads and their parts. Returns the keys of the objects that the caller must drop."""
    # Locked in id order. A request that is adding bytes to one of them comes before or after.
    ids = ResumableUpload.id.in_(upload_ids)
    session.execute(select(ResumableUpload.id).where(ids).order_by(ResumableUpload.id).with_for_update())
    keys = session.scalars(select(Part.storage_key).where(Part.upload_id.in_(upload_ids))).all()
    session.execute(delete(Part).where(Part.upload_id.in_(upload_ids)))
    session.execute(delete(ResumableUpload).where(ids))
    return list(keys)
