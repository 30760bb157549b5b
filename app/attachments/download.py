"""Sending an attachment's bytes: ranges, ETags, thumbnails (contract, section 4; RFC 9110, sections 8.8 and 14)."""

from __future__ import annotations

import logging
import unicodedata
from urllib.parse import quote

from flask import Request, Response

from app.errors import NotFoundError, StorageError
from app.models import Attachment
from app.storage import MissingObjectError, current_storage
from app.storage.images import thumbnail

logger = logging.getLogger(__name__)

#: Appended to an attachment's storage key: its thumbnail, made at the first request for it.
THUMBNAIL_SUFFIX = ".thumb"

#: The bytes of an attachment never change; a device may keep them, a shared cache may not.
CACHING = "private, max-age=86400"


def send_attachment(request: Request, attachment: Attachment, variant: str | None = None) -> Response:
    """The attachment's bytes, or with `variant="thumbnail"` a small JPEG. Raises `NotFoundError`, `StorageError`."""
    try:
        if variant == "thumbnail":
            data = _thumbnail(attachment)
            response = _conditional(request, "image/jpeg", f"{attachment.sha256}-thumbnail", len(data))
        else:
            data = None
            response = _conditional(request, attachment.content_type, attachment.sha256, attachment.byte_size)
        span = _span(request, response)
        if span is not None:
            start, end = span
            stored = current_storage().open(attachment.storage_key, start, end) if data is None else [data[start:end]]
            response.response = stored
    except MissingObjectError:
        logger.error("bytes of an attachment are missing", extra={"storage_key": attachment.storage_key})
        raise NotFoundError(
            "The attachment's bytes are missing", "Report its id to the operator; `storage check` lists such rows."
        ) from None
    if attachment.filename:
        response.headers.set("Content-Disposition", "inline", **_names(attachment.filename))
    return response


def _conditional(request: Request, content_type: str, tag: str, size: int) -> Response:
    """The answer without its bytes: 200, 206 or 304, Werkzeug decides. Raises its 416."""
    response = Response(content_type=content_type)
    response.set_etag(tag)
    response.content_length = size
    response.headers["Cache-Control"] = CACHING
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.make_conditional(request, accept_ranges=True, complete_length=size)
    return response


def _span(request: Request, response: Response) -> tuple[int, int | None] | None:
    """Which bytes are to be sent; None: none, so that nothing is opened for a HEAD or a 304."""
    if request.method == "HEAD" or response.status_code == 304:
        return None
    if response.status_code == 206:
        return response.content_range.start or 0, response.content_range.stop
    return 0, None


def _names(filename: str) -> dict[str, str]:
    """The name for every reader: as it is where HTTP can say it, else also as RFC 8187 has it."""
    plain = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode()
    return {"filename": plain} if plain == filename else {"filename": plain, "filename*": f"UTF-8''{quote(filename)}"}


def _thumbnail(attachment: Attachment) -> bytes:
    storage = current_storage()
    key = attachment.storage_key + THUMBNAIL_SUFFIX
    try:
        return b"".join(storage.open(key))
    except MissingObjectError:
        pass
    data = thumbnail(b"".join(storage.open(attachment.storage_key)))
    try:
        storage.put(key, data)
    except StorageError:
        # It can be made again; the device need not wait for the operator.
        logger.warning("thumbnail not kept", extra={"storage_key": key}, exc_info=True)
    return data
