"""Reading an upload: `multipart/form-data`, through the body reader (contract, section 4; RFC 7578)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import SEEK_END
from typing import IO

from flask import Request

from app.attachments.destination import Destination, invalid_parameters, missing_parameters, read_destination
from app.attachments.parts import OTHER_PARTS_BYTES, SLICE, PartReader
from app.config import current_settings
from app.errors import StorageError, TooLargeError
from app.http.body import body_pieces, decode, is_identity, read_body

REQUIRED_TEXTS = ("form_fill_id", "field_name")


@contextmanager
def received_upload(request: Request, part: str, kind: str) -> Iterator[tuple[Destination, IO[bytes]]]:
    """The destination, and the file with the bytes of the part `part`, which lasts as long as the block.

    Raises the `RequestError`s of section 4's table.
    """
    with ExitStack() as kept:
        reader = PartReader(part, kept)
        _read_parts(request, part, reader)
        file, texts = reader.file, reader.texts()
        size = 0 if file is None else file.content.seek(0, SEEK_END)
        absent = [name for name in REQUIRED_TEXTS if not texts.get(name)] + ([] if size else [part])
        if absent or file is None:
            message = f"Missing or empty: {', '.join(absent)}. Send these three parts as multipart/form-data."
            raise missing_parameters(f"form_fill_id, field_name, {part}", message)
        check_size(size)
        file.content.seek(0)
        yield read_destination(kind, {**texts, "filename": file.filename or ""}), file.content


def max_image_bytes() -> int:
    """The largest number of bytes of an image."""
    return current_settings().max_photo_bytes


def check_size(size: int) -> None:
    """Raise `TooLargeError` if an image of `size` bytes is too large."""
    if size > max_image_bytes():
        raise too_large(max_image_bytes())


def too_large(limit: int, reason: str = "") -> TooLargeError:
    """The error for a photo over the limit on bytes or, for the given `reason`, on what decoding may take."""
    megabytes = max_image_bytes() / 2**20
    message = f"{reason or f'The photo has more than {limit} bytes.'} Send it smaller."
    return TooLargeError(limit, f"File too large (max {megabytes:g}MB)", message)


def _read_parts(request: Request, part: str, reader: PartReader) -> None:
    """Let the reader have the body to its end."""
    body = _Body(request, max_image_bytes() + OTHER_PARTS_BYTES)
    try:
        try:
            reader.read(body.next_slice, _boundary(request, part))
        finally:
            # If the parser has given up, the rest may still break a rule that comes first, such as the size.
            while body.next_slice():
                pass
    except OSError as error:
        raise StorageError(f"An upload could not be written to a temporary file: {error.strerror or error}.") from error


def _boundary(request: Request, part: str) -> bytes:
    """The boundary of the multipart. Raises `RequestError` if the body is none."""
    if request.mimetype != "multipart/form-data":
        message = f"The Content-Type is {request.mimetype[:100]!r}. Send these three parts as multipart/form-data."
        raise missing_parameters(f"form_fill_id, field_name, {part}", message)
    boundary = request.mimetype_params.get("boundary", "")
    if not boundary or not boundary.isascii():
        raise invalid_parameters(
            "The Content-Type has no boundary that can be read. Send `multipart/form-data; boundary=…`; "
            "a boundary with other characters than letters, digits and hyphens stands in quotes."
        )
    return boundary.encode()


class _Body:
    """A request's body for the parser, read slice by slice within the limits of the body reader."""

    def __init__(self, request: Request, limit: int) -> None:
        self._request = request
        pieces = self._decoded(limit)
        self._slices = (piece[start : start + SLICE] for piece in pieces for start in range(0, len(piece), SLICE))

    def next_slice(self) -> bytes:
        """The next slice; empty at the end."""
        try:
            return next(self._slices, b"")
        except TooLargeError:
            raise too_large(max_image_bytes()) from None

    def _decoded(self, limit: int) -> Iterator[bytes]:
        encoding = self._request.headers.get("Content-Encoding", "")
        if is_identity(encoding):
            yield from body_pieces(self._request, limit)
        else:
            # Photos are compressed already. If one comes compressed again, it is decoded as a whole.
            yield decode(read_body(self._request, limit), encoding, limit)
