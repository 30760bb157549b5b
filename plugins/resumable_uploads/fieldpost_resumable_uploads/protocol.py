"""The headers of tus 1.0.0, read and checked (tus.io/protocols/resumable-upload, version 1.0.0)."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass

from flask import Request
from werkzeug.datastructures import Headers

from app.attachments import Destination, read_destination
from app.errors import InvalidError, MediaTypeError, RequestError
from fieldpost_resumable_uploads.faults import ChecksumMismatchError, WrongVersionError

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"

#: The content type of an upload's bytes.
CONTENT_TYPE = "application/offset+octet-stream"

#: The names that tus and hashlib share. tus requires SHA-1; checksums find accidents, not attacks.
ALGORITHMS = ("sha1", "sha256")

#: The longest `Upload-Metadata`, in characters. It is stored as sent.
MOST_METADATA = 4096
METADATA_KEY = re.compile(r"[!-+\--~]{1,64}")

KINDS = ("photo", "signature")


def require_version(headers: Headers) -> None:
    """Raise `WrongVersionError` unless the client speaks this version."""
    if headers.get("Tus-Resumable") != VERSION:
        raise WrongVersionError(headers={"Tus-Version": VERSION})


def require_content_type(request: Request) -> None:
    """Raise `MediaTypeError` unless the body consists of an upload's bytes, not encoded."""
    if request.mimetype != CONTENT_TYPE or request.headers.get("Content-Encoding", "identity") != "identity":
        raise MediaTypeError(message=f"Send the bytes as they are, with `Content-Type: {CONTENT_TYPE}`.")


def read_number(headers: Headers, name: str) -> int:
    """The value of `Upload-Offset` or `Upload-Length`, in bytes. Raises `InvalidError`."""
    text = headers.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise _invalid(name, "Send a whole number of bytes.")
    return int(text)


def read_target(sent: str) -> Destination:
    """The destination in `Upload-Metadata`: `form_fill_id`, `field_name`, and perhaps `kind`, `filename`, `local_id`.

    Other keys are the client's own. Raises `InvalidError`.
    """
    values = _read_metadata(sent)
    kind = values.get("kind") or "photo"
    if kind not in KINDS:
        raise InvalidError(extra={"details": {"kind": [f"Must be one of: {', '.join(KINDS)}."]}})
    return read_destination(kind, values)


def _read_metadata(sent: str) -> Mapping[str, str]:
    """The keys and their decoded values. They come separated by commas; a value is Base64 or missing."""
    if len(sent) > MOST_METADATA:
        raise _invalid("Upload-Metadata", f"Longer than maximum length {MOST_METADATA}.")
    metadata: dict[str, str] = {}
    for pair in sent.split(",") if sent.strip() else ():
        key, _, value = pair.strip().partition(" ")
        if not METADATA_KEY.fullmatch(key) or key in metadata:
            raise _invalid("Upload-Metadata", "Send each key once, without spaces and commas.")
        try:
            metadata[key] = b64decode(value.strip(), validate=True).decode()
        except ValueError:
            raise _invalid("Upload-Metadata", f"The value of {key} is not Base64 of UTF-8.") from None
    return metadata


@dataclass(frozen=True)
class Checksum:
    """The expected hash of a request's bytes."""

    algorithm: str
    digest: bytes

    def verify(self, data: bytes) -> None:
        """Raise `ChecksumMismatchError` unless the data have this hash."""
        if hashlib.new(self.algorithm, data, usedforsecurity=False).digest() != self.digest:
            raise ChecksumMismatchError()


def read_checksum(headers: Headers) -> Checksum | None:
    """The checksum in `Upload-Checksum`; None if the client sent none. Raises `InvalidError`."""
    sent = headers.get("Upload-Checksum")
    if sent is None:
        return None
    name, _, value = sent.partition(" ")
    if name not in ALGORITHMS:
        raise _invalid("Upload-Checksum", f"Send one of: {', '.join(ALGORITHMS)}, a space, and the digest in Base64.")
    try:
        digest = b64decode(value.strip(), validate=True)
    except ValueError:
        digest = b""
    if len(digest) != hashlib.new(name, usedforsecurity=False).digest_size:
        raise _invalid("Upload-Checksum", f"The digest is not Base64 of a {name} digest.")
    return Checksum(name, digest)


def _invalid(header: str, sentence: str) -> RequestError:
    return InvalidError("Invalid header", f"{header}: {sentence}", extra={"details": {header: [sentence]}})
