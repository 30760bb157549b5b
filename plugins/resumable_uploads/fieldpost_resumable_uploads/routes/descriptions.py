"""The headers, answers and errors of the routes, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.attachments import UPLOAD_ERRORS
from app.errors import RequestError
from app.web import ErrorCode, described
from fieldpost_resumable_uploads import protocol
from fieldpost_resumable_uploads.faults import (
    ChecksumMismatchError,
    OffsetConflictError,
    TooManyUploadsError,
    UploadExpiredError,
    WrongVersionError,
)

Header = dict[str, Any]

TEXT: Header = {"type": "string"}
BYTES: Header = {"type": "integer", "minimum": 0}

#: The header with the attachment's id of a complete upload.
ATTACHMENT_ID = "Fieldpost-Attachment-Id"

VERSION: Header = {"Tus-Resumable": {"type": "string", "enum": [protocol.VERSION]}}
CHECKSUM: Header = {"Upload-Checksum": {"type": "string", "pattern": f"^({'|'.join(protocol.ALGORITHMS)}) .+$"}}
PROGRESS: Header = {**VERSION, "Upload-Offset": BYTES, "Upload-Expires": TEXT, ATTACHMENT_ID: TEXT}


def _fault(error: type[RequestError], meaning: str) -> ErrorCode:
    return ErrorCode(error.code, error.status, error.error, meaning)


WRONG_VERSION = _fault(WrongVersionError, "`Tus-Resumable` is missing or another version")
CONFLICT = _fault(OffsetConflictError, "the upload is at another offset: ask with HEAD")
EXPIRED = _fault(UploadExpiredError, "nothing has arrived for too long; start again")
TOO_MANY = _fault(TooManyUploadsError, "the user's unfinished uploads come to too much")
MISMATCH = _fault(ChecksumMismatchError, "nothing was kept; send the same again")

#: The errors of routes that take bytes: errors of the body, and of the image, which is checked once it is whole.
OF_BYTES = ("bad_json", "invalid", "too_slow", "too_large", "unsupported_media_type", *UPLOAD_ERRORS, MISMATCH)


def _answer(description: str, headers: Mapping[str, Header]) -> Header:
    return {"description": description, "headers": {name: {"schema": schema} for name, schema in headers.items()}}


describe_create = described(
    headers={**VERSION, "Upload-Length": BYTES, "Upload-Metadata": TEXT, **CHECKSUM},
    answers={201: _answer("Announced", {**PROGRESS, "Location": TEXT})},
    errors=(*OF_BYTES, WRONG_VERSION, CONFLICT, EXPIRED, TOO_MANY),
)

describe_add = described(
    headers={**VERSION, "Upload-Offset": BYTES, **CHECKSUM},
    answers={204: _answer("What arrived is kept", PROGRESS)},
    errors=(*OF_BYTES, WRONG_VERSION, CONFLICT, EXPIRED),
)

describe_show = described(
    answer={"type": "object", "required": ["success", "message", "data"]},
    answer_headers={**PROGRESS, "Upload-Length": BYTES, "Upload-Metadata": TEXT},
    errors=("not_found", EXPIRED),
)

describe_remove = described(
    headers=VERSION, answers={204: _answer("Given up", VERSION)}, errors=("not_found", WRONG_VERSION, EXPIRED)
)

describe_override = described(
    headers={
        **VERSION,
        "X-HTTP-Method-Override": {"type": "string", "enum": ["PATCH", "DELETE"]},
        "Upload-Offset": BYTES,
    },
    answers={204: _answer("Done", PROGRESS)},
    errors=(*OF_BYTES, WRONG_VERSION, CONFLICT, EXPIRED),
)
