"""Taking in the bytes of an upload: they are kept as they arrive, and become the attachment once it is whole."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import datetime, timedelta

from flask import request
from sqlalchemy.orm import Session

from app.attachments import MissingObjectError, image_draft, store_draft
from app.clock import now
from app.errors import RequestError
from app.models import db
from app.plugin_api import plugin_settings
from app.web import CutOffError, SlowBodyError, body_pieces, origin_of_request, unit_of_work
from fieldpost_resumable_uploads import protocol, uploads
from fieldpost_resumable_uploads.faults import UploadExpiredError
from fieldpost_resumable_uploads.models import ResumableUpload
from fieldpost_resumable_uploads.uploads import PART_BYTES, Stretch


def take(upload: ResumableUpload) -> None:
    """Keep the bytes of the request, and finish the upload once it is whole.

    A body that breaks off is an error only if nothing of it could be kept. Otherwise the answer tells the client the
    offset to go on from.
    """
    offset, bunches = upload.received, _bunches(upload.byte_size - upload.received)
    try:
        with closing(bunches):
            for bunch in bunches:
                if offset + len(bunch) < upload.byte_size:
                    _append(upload.id, offset, bunch)
                else:
                    _finish(upload, offset, bunch)
                offset += len(bunch)
    except (CutOffError, SlowBodyError):
        if offset == upload.received:
            raise


def _bunches(most: int) -> Generator[bytes, None, None]:
    """The body in bunches that are worth keeping, including the last one before an error.

    With a checksum the whole body is one bunch, because a part of it cannot be verified.
    """
    checksum, pieces = protocol.read_checksum(request.headers), body_pieces(request, most)
    with closing(pieces):
        if checksum is None:
            yield from _joined(pieces)
            return
        data = b"".join(pieces)
        checksum.verify(data)
        if data:
            yield data


def _joined(pieces: Iterator[bytes]) -> Iterator[bytes]:
    bunch = bytearray()
    try:
        for piece in pieces:
            bunch += piece
            if len(bunch) >= PART_BYTES:
                yield bytes(bunch)
                bunch.clear()
    except (CutOffError, SlowBodyError):
        if bunch:
            yield bytes(bunch)
        raise
    if bunch:
        yield bytes(bunch)


def _append(upload_id: str, offset: int, data: bytes) -> None:
    """Add bytes that do not complete the upload."""
    parts = uploads.parts_of(upload_id, offset)
    last = parts[-1] if parts and parts[-1].byte_size < PART_BYTES else None
    before = b"" if last is None else b"".join(_content(upload_id, offset, [last]))
    part = uploads.keep(offset - len(before), before + data)

    def work(_unit_id: str) -> None:
        upload = uploads.locked(db.session(), upload_id, offset)
        uploads.append(db.session(), upload, part, last)
        upload.expires_at = expiry()

    try:
        unit_of_work(work)
    except RequestError as error:
        # After a 503 the commit may have come through. Otherwise no row names the object.
        if error.status != 503:
            uploads.drop([part.storage_key])
        raise
    if last is not None:
        uploads.drop([last.storage_key])


def _finish(upload: ResumableUpload, offset: int, data: bytes) -> None:
    """Add the last bytes. Attachment and completion are one transaction, so that the upload completes exactly once."""
    parts = uploads.parts_of(upload.id, offset)

    def also(session: Session, attachment_id: str) -> None:
        locked = uploads.locked(session, upload.id, offset)
        uploads.complete(session, locked, attachment_id)
        locked.expires_at = expiry()

    with image_draft() as draft:
        for piece in _content(upload.id, offset, parts):
            draft.write(piece)
        draft.write(data)
        store_draft(origin_of_request("upload"), protocol.read_target(upload.sent_metadata), draft, also)
    uploads.drop([part.storage_key for part in parts])


def expiry() -> datetime:
    """The expiry of an upload to which bytes have just been added."""
    return now() + timedelta(hours=plugin_settings("resumable_uploads")["lifetime_hours"])


def _content(upload_id: str, offset: int, parts: list[Stretch]) -> Iterator[bytes]:
    """The bytes of parts, piece by piece.

    If they are missing, another request was faster, or they are lost and the upload expires.
    """
    try:
        yield from uploads.content(parts)
    except MissingObjectError:

        def work(_unit_id: str) -> list[str]:
            uploads.locked(db.session(), upload_id, offset)
            return uploads.remove(db.session(), [upload_id])

        uploads.drop(unit_of_work(work))
        raise UploadExpiredError("What had arrived of the upload is lost") from None
