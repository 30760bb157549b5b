"""Sending an attachment's bytes: ranges, ETags, thumbnails (contract, section 4; RFC 9110, sections 8.8 and 14)."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from flask import Request, Response
from werkzeug.exceptions import PreconditionFailed

from app.attachments.storage import LinkingStorage, MissingObjectError, current_storage
from app.attachments.storage.faults import ImageTooLargeError, NotAnImageError
from app.attachments.storage.images import thumbnail
from app.attachments.storage.protocol import Pieces
from app.attachments.storage.shared import Part, cut, shared_parts, size_of
from app.attachments.storage.turns import Turns
from app.config import current_settings
from app.errors import NotFoundError, StorageError
from app.models import Attachment
from app.web import signed_in_user

logger = logging.getLogger(__name__)

#: Added to an attachment's storage key, it is the key of the thumbnail, which is made when it is first requested.
THUMBNAIL_SUFFIX = ".thumb"

#: The bytes of an attachment never change. A device may keep them, but a shared cache may not.
CACHING = "private, max-age=86400"

#: One range of bytes: `first-last`, `first-`, or `-number` for the last ones.
ONE_RANGE = re.compile(r"bytes=[ \t]*(?:[0-9]{1,18}-(?:[0-9]{1,18})?|-(?P<last>[0-9]{1,18}))[ \t]*", re.ASCII)

#: Characters, besides letters and digits, that an extended parameter need not encode (RFC 8187, attr-char).
PLAIN_IN_NAMES = "!#$&+-.^_`|~"

#: Held while a thumbnail is made, so that simultaneous requests for the same one wait for it.
_making = Turns(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Representation:
    """One of the ways in which an attachment is sent. Each has an ETag of its own (RFC 9110, section 8.8)."""

    content_type: str
    tag: str
    #: In bytes.
    size: int
    #: The bytes from a place up to an end, exclusive.
    open: Callable[[int, int | None], Iterable[bytes]]
    #: Whether the storage has these very bytes, and can be asked for them.
    is_original: bool = False


def send_attachment(
    request: Request, attachment: Attachment, variant: str | None = None, *, from_here: bool = False
) -> Response:
    """The attachment's bytes, or with `variant="thumbnail"` a small JPEG. Raises `NotFoundError`, `StorageError`.

    Others than the uploader get a picture without metadata if the settings say so. If the storage gives out links, a
    GET of the original is answered with a redirect to one, unless all is to come `from_here`: a page shows nothing from
    elsewhere.
    """
    try:
        chosen = _chosen(attachment, variant)
        response = _conditional(request, chosen)
        if attachment.filename:
            response.headers.set("Content-Disposition", "inline", **_names(attachment.filename))
        span = _span(request, response)
        if span is None:
            return response
        storage = current_storage()
        if chosen.is_original and not from_here and isinstance(storage, LinkingStorage):
            return _redirect(storage, attachment, response)
        response.response = chosen.open(*span)
    except MissingObjectError:
        logger.error("bytes of an attachment are missing", extra={"storage_key": attachment.storage_key})
        raise NotFoundError(
            "The attachment's bytes are missing", "Report its id to the operator; `storage check` lists such rows."
        ) from None
    return response


def _chosen(attachment: Attachment, variant: str | None) -> Representation:
    if variant == "thumbnail":
        data = _thumbnail(attachment)
        return Representation(
            content_type="image/jpeg",
            tag=f"{attachment.sha256}-thumbnail",
            size=len(data),
            open=lambda start, end: [data[start:end]],
        )
    if current_settings().strip_metadata and attachment.uploaded_by_id != signed_in_user().id:
        return _without_metadata(attachment)
    return Representation(
        content_type=attachment.content_type,
        tag=attachment.sha256,
        size=attachment.byte_size,
        open=partial(current_storage().open, attachment.storage_key),
        is_original=True,
    )


def _without_metadata(attachment: Attachment) -> Representation:
    """The picture for others than its uploader. The whole is read to find its parts, and sent piece by piece."""
    # The bytes are sent when the request's application is no longer at hand.
    read = partial(current_storage().open, attachment.storage_key)
    with _damage_told(attachment, "copy without metadata", "Ask its uploader for it."):
        parts = shared_parts(b"".join(read()))
    return Representation(
        content_type=attachment.content_type,
        tag=f"{attachment.sha256}-without-metadata",
        size=size_of(parts),
        open=lambda start, end: _pieces(read, cut(parts, start, end)),
    )


def _pieces(read: Callable[[int, int], Pieces], parts: list[Part]) -> Iterator[bytes]:
    """The bytes of parts; `read` gets those of the original."""
    for part in parts:
        if isinstance(part, bytes):
            yield part
        else:
            with closing(read(*part)) as pieces:
                yield from pieces


def _redirect(storage: LinkingStorage, attachment: Attachment, response: Response) -> Response:
    """A redirect to the bytes of `response`. A client that follows it repeats the Range header, but not the token."""
    link = storage.link(
        attachment.storage_key,
        content_type=attachment.content_type,
        disposition=response.headers.get("Content-Disposition"),
        caching=CACHING,
    )
    # Not cached: the link opens the photo to anybody for as long as it is valid, and is useless afterwards.
    return Response(status=302, headers={"Location": link, "Cache-Control": "private, no-store"})


def _conditional(request: Request, chosen: Representation) -> Response:
    """The answer without its bytes: 200, 206 or 304, as Werkzeug decides. Raises Werkzeug's 412 and 416."""
    size = chosen.size
    response = Response(content_type=chosen.content_type)
    response.set_etag(chosen.tag)
    response.content_length = size
    response.headers["Cache-Control"] = CACHING
    if current_settings().strip_metadata:
        # Two people who share a browser do not get the same bytes.
        response.vary.add("Authorization")
    # A file may be a picture and a page at once; opened as a page, it can do nothing.
    response.headers["Content-Security-Policy"] = "sandbox"
    # The range is left out at first, because Werkzeug would check it before the ETags (RFC 9110, section 11.2.2).
    environ = {name: value for name, value in request.environ.items() if name != "HTTP_RANGE"}
    response.make_conditional(environ, accept_ranges=True, complete_length=size)
    if response.status_code == 412:
        raise PreconditionFailed()
    span = _range(request, size)
    if span is not None and response.status_code == 200:
        response.make_conditional({**environ, "HTTP_RANGE": span}, accept_ranges=True, complete_length=size)
    return response


def _range(request: Request, size: int) -> str | None:
    """The requested range, if we serve ranges of its kind; otherwise None, and the whole is sent.

    Werkzeug would refuse several ranges, other units, and a number of last bytes above the size. A HEAD has no ranges.
    Werkzeug does refuse a single range that is reversed or begins after the end.
    """
    sent = request.headers.get("Range", "")
    match = ONE_RANGE.fullmatch(sent) if request.method == "GET" else None
    if match is None:
        return None
    return "bytes=0-" if match["last"] and int(match["last"]) >= size else sent


def _span(request: Request, response: Response) -> tuple[int, int | None] | None:
    """The first byte to send and the end; None for a HEAD or a 304, which open nothing."""
    if request.method == "HEAD" or response.status_code == 304:
        return None
    if response.status_code == 206:
        return response.content_range.start or 0, response.content_range.stop
    return 0, None


def _names(filename: str) -> dict[str, str]:
    """Parameters with the file name: as plain ASCII, and if that loses characters also encoded after RFC 8187."""
    plain = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode()
    if plain == filename:
        return {"filename": plain}
    return {"filename": plain, "filename*": f"UTF-8''{quote(filename, safe=PLAIN_IN_NAMES)}"}


def _thumbnail(attachment: Attachment) -> bytes:
    """The stored thumbnail, or a new one."""
    key = attachment.storage_key + THUMBNAIL_SUFFIX
    stored = _stored(key)
    if stored is not None:
        return stored
    with _making.turn() as wait:
        # Another request may have made it while this one waited.
        return _stored(key) or _new_thumbnail(attachment, key, wait)


def _stored(key: str) -> bytes | None:
    try:
        return b"".join(current_storage().open(key))
    except MissingObjectError:
        return None


def _new_thumbnail(attachment: Attachment, key: str, wait: float) -> bytes:
    storage = current_storage()
    data = _made_small(attachment, b"".join(storage.open(attachment.storage_key)), wait)
    try:
        storage.put(key, data)
    except StorageError:
        # It can be made again, and the device should not have to wait until the storage works.
        logger.warning("thumbnail not kept", extra={"storage_key": key}, exc_info=True)
    return data


def _made_small(attachment: Attachment, data: bytes, wait: float) -> bytes:
    with _damage_told(attachment, "thumbnail", "Fetch it without `variant`."):
        return thumbnail(data, wait)


@contextmanager
def _damage_told(attachment: Attachment, noun: str, cure: str) -> Iterator[None]:
    """Raise `NotFoundError` if the stored bytes were damaged since the upload, so that nothing can be made of them."""
    try:
        yield
    except (NotAnImageError, ImageTooLargeError) as error:
        logger.error(f"no {noun} can be made", extra={"storage_key": attachment.storage_key, "reason": str(error)})
        raise NotFoundError(
            f"No {noun} can be made of the attachment",
            f"{cure} Report its id to the operator: the stored bytes are damaged.",
        ) from None
