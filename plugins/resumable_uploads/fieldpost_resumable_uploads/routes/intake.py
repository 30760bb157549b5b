"""Taking in the bytes of an upload: keep what arrives, and make the attachment once it is whole."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import datetime, timedelta

from flask import request
from sqlalchemy.orm import Session

from app.attachments import MissingObjectError, store_image
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
    """Keep what arrives with the request, and finish the upload once it is whole.

    A body that breaks off is a fault only if nothing of it could be kept; else the answer says how far the upload has
    come, and the client goes on from there.
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
    """The body in bunches worth keeping, the last one before a fault included; with a checksum, all of it or nothing,
    since of a prefix nobody can say whether it is right."""
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
    """Add bytes that do not make the upload whole."""
    parts = uploads.parts_of(upload_id, offset)
    last = parts[-1] if parts and parts[-1].byte_size < PART_BYTES else None
    before = b"" if last is None else _content(upload_id, offset, [last])
    part = uploads.keep(offset - len(before), before + data)

    def work(_unit_id: str) -> None:
        upload = uploads.locked(db.session(), upload_id, offset)
        uploads.append(db.session(), upload, part, last)
        upload.expires_at = expiry()

    try:
        unit_of_work(work)
    except RequestError as error:
        # After a 503 the commit may have come through; else nothing names the object.
        if error.status != 503:
            uploads.drop([part.storage_key])
        raise
    if last is not None:
        uploads.drop([last.storage_key])


def _finish(upload: ResumableUpload, offset: int, data: bytes) -> None:
    """Add the last bytes: attachment and completion are one transaction, so that it is complete once or not at all."""
    parts = uploads.parts_of(upload.id, offset)
    whole = _content(upload.id, offset, parts) + data

    def also(session: Session, attachment_id: str) -> None:
        locked = uploads.locked(session, upload.id, offset)
        uploads.complete(session, locked, attachment_id)
        locked.expires_at = expiry()

    store_image(origin_of_request("upload"), protocol.read_target(upload.sent_metadata), whole, also)
    uploads.drop([each.storage_key for each in parts])


def expiry() -> datetime:
    """Until when an upload is kept to which something has just been added."""
    return now() + timedelta(hours=plugin_settings("resumable_uploads")["lifetime_hours"])


def _content(upload_id: str, offset: int, parts: list[Stretch]) -> bytes:
    """The bytes of parts. If they are gone, either another request has been quicker, or they are lost for good."""
    try:
        return uploads.content(parts)
    except MissingObjectError:

        def work(_unit_id: str) -> list[str]:
            uploads.locked(db.session(), upload_id, offset)
            return uploads.remove(db.session(), [upload_id])

        uploads.drop(unit_of_work(work))
        raise UploadExpiredError("What had arrived of the upload is lost") from None
