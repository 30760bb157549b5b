"""An upload as it arrives: `multipart/form-data`, read through the gate (contract, section 4; RFC 7578)."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from flask import Request
from werkzeug.formparser import FormDataParser

from app import gate
from app.attachments.destination import Destination, missing_parameters, read_destination
from app.config import current_settings
from app.errors import BadJsonError, MediaTypeError, RequestError, TooLargeError

#: What the other parts and the boundaries may take beside the photo.
OTHER_PARTS_BYTES = 64 * 1024
MAX_PARTS = 16


def read_upload(request: Request, part: str, kind: str) -> tuple[Destination, bytes]:
    """Where the image goes, and its bytes from the part `part`. Raises the `RequestError`s of section 4's table."""
    missing = missing_parameters(
        f"form_fill_id, field_name, {part}", "Send these three parts as multipart/form-data, none of them empty."
    )
    form, files = _parts(request, missing)
    file = files.get(part)
    data = b"" if file is None else file.read()
    if not form.get("form_fill_id", "").strip() or not form.get("field_name", "").strip() or not data:
        raise missing
    check_size(len(data))
    return read_destination(kind, {**form.to_dict(), "filename": file.filename or ""}), data


def max_image_bytes() -> int:
    """The most bytes that an image may have."""
    return current_settings().max_photo_bytes


def check_size(size: int) -> None:
    """Raise the fault of an image of `size` bytes, if that is too much."""
    if size > max_image_bytes():
        raise too_large(max_image_bytes())


def too_large(limit: int) -> TooLargeError:
    """The fault of a photo over the limit on bytes or on pixels."""
    megabytes = max_image_bytes() / 2**20
    message = f"The photo is over the limit of {limit}; send it smaller."
    return TooLargeError(limit, f"File too large (max {megabytes:g}MB)", message)


def _parts(request: Request, missing: RequestError) -> tuple[Any, Any]:
    """The text parts and the file parts. A wrong boundary would just leave both empty (trap 15)."""
    limit = max_image_bytes()
    try:
        body = gate.read_body(request, limit + OTHER_PARTS_BYTES)
        body = gate.decode(body, request.headers.get("Content-Encoding", ""), limit + OTHER_PARTS_BYTES)
    except TooLargeError:
        raise too_large(limit) from None
    except BadJsonError as error:
        # Whatever has not arrived whole is a broken multipart here.
        raise missing from error
    except MediaTypeError:
        raise
    parser = FormDataParser(
        # In memory, where the body is already; files of their own would have to be cleaned up.
        stream_factory=lambda *_args, **_options: BytesIO(),
        # The parser counts what it holds of a file as well: a piece of 64 KiB, and what may begin a boundary.
        max_form_memory_size=2 * OTHER_PARTS_BYTES,
        max_form_parts=MAX_PARTS,
        silent=False,
    )
    try:
        _, form, files = parser.parse(BytesIO(body), request.mimetype, len(body), request.mimetype_params)
    except Exception as error:
        # The parser has errors of several kinds; all of them say that this is no readable multipart.
        raise missing from error
    return form, files
