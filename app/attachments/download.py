"""Sending an attachment's bytes: ranges, ETags, thumbnails (contract, section 4; RFC 9110, sections 8.8 and 14)."""

from __future__ import annotations

import logging
import re
import unicodedata
from threading import Lock
from urllib.parse import quote

from flask import Request, Response
from werkzeug.exceptions import PreconditionFailed

from app.attachments.storage import LinkingStorage, MissingObjectError, current_storage
from app.attachments.storage.images import ImageTooLargeError, NotAnImageError, thumbnail
from app.errors import NotFoundError, StorageError
from app.models import Attachment

logger = logging.getLogger(__name__)

#: Appended to an attachment's storage key: its thumbnail, made at the first request for it.
THUMBNAIL_SUFFIX = ".thumb"

#: The bytes of an attachment never change; a device may keep them, a shared cache may not.
CACHING = "private, max-age=86400"

#: One range of bytes: from the first to the last, from the first on, or the last so many.
ONE_RANGE = re.compile(r"bytes=[ \t]*(?:[0-9]{1,18}-(?:[0-9]{1,18})?|-(?P<last>[0-9]{1,18}))[ \t]*", re.ASCII)

#: What a name in an extended parameter may hold as it is (RFC 8187, attr-char), beside letters and digits.
PLAIN_IN_NAMES = "!#$&+-.^_`|~"

#: Whoever makes a thumbnail holds it, so that those who ask for the same one at the same time wait for that one.
_making = Lock()


def send_attachment(request: Request, attachment: Attachment, variant: str | None = None) -> Response:
    """The attachment's bytes, or with `variant="thumbnail"` a small JPEG. Raises `NotFoundError`, `StorageError`.

    Where the storage can be asked directly, the answer to a GET is where to; thumbnails are sent in any case.
    """
    try:
        if variant == "thumbnail":
            data = _thumbnail(attachment)
            response = _conditional(request, "image/jpeg", f"{attachment.sha256}-thumbnail", len(data))
        else:
            data = None
            response = _conditional(request, attachment.content_type, attachment.sha256, attachment.byte_size)
        if attachment.filename:
            response.headers.set("Content-Disposition", "inline", **_names(attachment.filename))
        span = _span(request, response)
        if span is None:
            return response
        if data is not None:
            response.response = [data[slice(*span)]]
            return response
        storage = current_storage()
        if isinstance(storage, LinkingStorage):
            return _redirect(storage, attachment, response)
        response.response = storage.open(attachment.storage_key, *span)
    except MissingObjectError:
        logger.error("bytes of an attachment are missing", extra={"storage_key": attachment.storage_key})
        raise NotFoundError(
            "The attachment's bytes are missing", "Report its id to the operator; `storage check` lists such rows."
        ) from None
    return response


def _redirect(storage: LinkingStorage, attachment: Attachment, response: Response) -> Response:
    """Where to fetch what `response` would hold. Whoever follows sends the Range again, but not the token."""
    link = storage.link(
        attachment.storage_key,
        content_type=attachment.content_type,
        disposition=response.headers.get("Content-Disposition"),
        caching=CACHING,
    )
    # Kept by nobody: it is a key to the photo for as long as it lasts, and useless after.
    return Response(status=302, headers={"Location": link, "Cache-Control": "private, no-store"})


def _conditional(request: Request, content_type: str, tag: str, size: int) -> Response:
    """The answer without its bytes: 200, 206 or 304, Werkzeug decides. Raises its 412 and 416."""
    response = Response(content_type=content_type)
    response.set_etag(tag)
    response.content_length = size
    response.headers["Cache-Control"] = CACHING
    response.headers["X-Content-Type-Options"] = "nosniff"
    # Without the range at first: Werkzeug would look at it before it looks at ETags (RFC 9110, section 13.2.2).
    environ = {name: value for name, value in request.environ.items() if name != "HTTP_RANGE"}
    response.make_conditional(environ, accept_ranges=True, complete_length=size)
    if response.status_code == 412:
        raise PreconditionFailed()
    span = _range(request, size)
    if span is not None and response.status_code == 200:
        response.make_conditional({**environ, "HTTP_RANGE": span}, accept_ranges=True, complete_length=size)
    return response


def _range(request: Request, size: int) -> str | None:
    """The range that is asked for, if it is one that we serve; for anything else the whole is the answer.

    Werkzeug would refuse several ranges, other units, and more last bytes than there are. A HEAD has no ranges. One
    range that is reversed or begins behind the end is Werkzeug's to refuse.
    """
    sent = request.headers.get("Range", "")
    found = ONE_RANGE.fullmatch(sent) if request.method == "GET" else None
    if found is None:
        return None
    return "bytes=0-" if found["last"] and int(found["last"]) >= size else sent


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
    if plain == filename:
        return {"filename": plain}
    return {"filename": plain, "filename*": f"UTF-8''{quote(filename, safe=PLAIN_IN_NAMES)}"}


def _thumbnail(attachment: Attachment) -> bytes:
    """The one that is kept, or a new one."""
    key = attachment.storage_key + THUMBNAIL_SUFFIX
    found = _kept(key)
    if found is not None:
        return found
    with _making:
        # Made by another request while this one waited?
        return _kept(key) or _new_thumbnail(attachment, key)


def _kept(key: str) -> bytes | None:
    try:
        return b"".join(current_storage().open(key))
    except MissingObjectError:
        return None


def _new_thumbnail(attachment: Attachment, key: str) -> bytes:
    storage = current_storage()
    data = _made_small(attachment, b"".join(storage.open(attachment.storage_key)))
    try:
        storage.put(key, data)
    except StorageError:
        # It can be made again; the device need not wait for the operator.
        logger.warning("thumbnail not kept", extra={"storage_key": key}, exc_info=True)
    return data


def _made_small(attachment: Attachment, data: bytes) -> bytes:
    """The thumbnail of what was an image when it was uploaded, and is none any more if its bytes were damaged."""
    try:
        return thumbnail(data)
    except (NotAnImageError, ImageTooLargeError) as error:
        logger.error("no thumbnail can be made", extra={"storage_key": attachment.storage_key, "reason": str(error)})
        raise NotFoundError(
            "No thumbnail can be made of the attachment",
            "Fetch it without `variant`. Report its id to the operator: the stored bytes are damaged.",
        ) from None
