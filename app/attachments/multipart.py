"""An upload as it arrives: `multipart/form-data`, read through the gate (contract, section 4; RFC 7578)."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any

from flask import Request
from werkzeug.formparser import FormDataParser

from app import gate
from app.config import current_settings
from app.errors import BadJsonError, InvalidError, MediaTypeError, RequestError, TooLargeError
from app.identifiers import MAX_INTEGER, UUID_FORM

#: What the other parts and the boundaries may take beside the photo.
OTHER_PARTS_BYTES = 64 * 1024
MAX_PARTS = 16

FIELD_NAME_LENGTH = 255
LOCAL_ID_LENGTH = 255


@dataclass(frozen=True, kw_only=True)
class Upload:
    """The parts of an upload, not yet verified."""

    #: An id, or a client_id in lower case; None: what was sent names no form fill.
    form_fill: int | str | None
    field_name: str
    #: As the device named the file; for display only, never for a path (trap 15).
    filename: str | None
    data: bytes
    #: Makes a retry certain; None: none was sent.
    local_id: str | None


def read_upload(request: Request, part: str) -> Upload:
    """The upload in the request, its bytes in the part `part`. Raises the `RequestError`s of section 4's table."""
    missing = RequestError(
        f"Required parameters: form_fill_id, field_name, {part}",
        "Send these three parts as multipart/form-data, none of them empty.",
        code="invalid",
    )
    form, files = _parts(request, missing)
    form_fill_id, field_name = form.get("form_fill_id", "").strip(), form.get("field_name", "")
    file = files.get(part)
    data = b"" if file is None else file.read()
    if not form_fill_id or not field_name.strip() or file is None or not data:
        raise missing
    limit = current_settings().max_photo_bytes
    if len(data) > limit:
        raise too_large(limit)
    _check_text("field_name", field_name, FIELD_NAME_LENGTH)
    local_id = form.get("local_id") or None
    if local_id is not None:
        _check_text("local_id", local_id, LOCAL_ID_LENGTH)
    return Upload(
        form_fill=_form_fill(form_fill_id),
        field_name=field_name,
        filename=_display_name(file.filename),
        data=data,
        local_id=local_id,
    )


def too_large(limit: int) -> TooLargeError:
    """The fault of a photo over the limit on bytes or on pixels."""
    megabytes = current_settings().max_photo_bytes / 2**20
    message = f"The photo is over the limit of {limit}; send it smaller."
    return TooLargeError(limit, f"File too large (max {megabytes:g}MB)", message)


def _parts(request: Request, missing: RequestError) -> tuple[Any, Any]:
    """The text parts and the file parts. A wrong boundary would just leave both empty (trap 15)."""
    limit = current_settings().max_photo_bytes
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


def _check_text(name: str, value: str, longest: int) -> None:
    fault = gate.faults(value)
    if len(value) > longest:
        fault = f"Longer than maximum length {longest}."
    if fault is not None:
        raise InvalidError(extra={"details": {name: [fault]}})


def _form_fill(sent: str) -> int | str | None:
    if sent.isascii() and sent.isdecimal():
        number = int(sent) if len(sent) <= 16 else 0
        return number if 0 < number <= MAX_INTEGER else None
    return sent.lower() if UUID_FORM.fullmatch(sent) else None


def _display_name(filename: str | None) -> str | None:
    """The last component of the device's path, what is no text left out."""
    name = (filename or "").replace("\\", "/").rpartition("/")[2]
    return "".join(each for each in name if each.isprintable())[:255].strip() or None
