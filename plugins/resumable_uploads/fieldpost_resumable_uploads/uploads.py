"""The rows of uploads, and the objects with what has arrived of them.

Everything that changes rows gets the session of a unit of work, and takes its decision on a locked row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.attachments import current_storage, drop_object, new_key
from app.errors import NotFoundError
from app.models import User, db
from fieldpost_resumable_uploads.faults import OffsetConflictError
from fieldpost_resumable_uploads.models import Part, ResumableUpload

#: What arrives is kept whenever there is so much of it: a connection that hangs, or a server that is killed, costs no
#: more than this. A shorter part is joined with what follows it, so that an upload never has many.
PART_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Bytes that are in the storage already, and where they stand in their upload."""

    start: int
    byte_size: int
    storage_key: str


def parts_of(upload_id: str, offset: int) -> list[Stretch]:
    """The parts of an upload that is at `offset`, in order; read in a transaction of its own.

    Raises `OffsetConflictError` where it is not. While `locked` then still finds it at `offset`, these are its parts.
    """
    rows = db.session.scalars(select(Part).where(Part.upload_id == upload_id).order_by(Part.start))
    found = [Stretch(start=each.start, byte_size=each.byte_size, storage_key=each.storage_key) for each in rows]
    db.session.remove()
    if sum(each.byte_size for each in found) != offset:
        raise OffsetConflictError()
    return found


def content(parts: Sequence[Stretch]) -> bytes:
    """The bytes of parts that follow one another. Raises `MissingObjectError`."""
    return b"".join(piece for part in parts for piece in current_storage().open(part.storage_key))


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
    """How much the user's unfinished uploads come to. Locks the user, so that two at once count each other."""
    session.execute(select(User.id).where(User.id == user_id).with_for_update(key_share=True))
    statement = select(func.sum(ResumableUpload.byte_size)).where(
        ResumableUpload.user_id == user_id,
        ResumableUpload.attachment_id.is_(None),
        ResumableUpload.expires_at > moment,
    )
    return int(session.scalar(statement) or 0)


def locked(session: Session, upload_id: str, offset: int) -> ResumableUpload:
    """The upload, if it is still at `offset`: so two requests at once cannot mix their bytes."""
    statement = select(ResumableUpload).where(ResumableUpload.id == upload_id).with_for_update()
    found: ResumableUpload | None = session.scalar(statement, execution_options={"populate_existing": True})
    if found is None:
        raise NotFoundError("Upload not found")
    if found.received != offset:
        raise OffsetConflictError()
    return found


def append(session: Session, upload: ResumableUpload, part: Stretch, replaced: Stretch | None) -> None:
    """Let the upload, locked, go on with `part`, which takes the place of `replaced`."""
    if replaced is not None:
        session.execute(delete(Part).where(Part.storage_key == replaced.storage_key))
    session.add(
        Part(upload_id=upload.id, start=part.start, byte_size=part.byte_size, storage_key=part.storage_key),
    )
    upload.received = part.start + part.byte_size


def complete(session: Session, upload: ResumableUpload, attachment_id: str) -> None:
    """Let the upload, locked, have become an attachment; its parts are needed no more."""
    session.execute(delete(Part).where(Part.upload_id == upload.id))
    upload.received = upload.byte_size
    upload.attachment_id = attachment_id


def remove(session: Session, upload_ids: Sequence[str]) -> list[str]:
    """Delete uploads and their parts; the keys of the objects that are then to be dropped."""
    # Locked in one order, so that a request that is just adding to one comes before or after.
    ids = ResumableUpload.id.in_(upload_ids)
    session.execute(select(ResumableUpload.id).where(ids).order_by(ResumableUpload.id).with_for_update())
    keys = session.scalars(select(Part.storage_key).where(Part.upload_id.in_(upload_ids))).all()
    session.execute(delete(Part).where(Part.upload_id.in_(upload_ids)))
    session.execute(delete(ResumableUpload).where(ids))
    return list(keys)
