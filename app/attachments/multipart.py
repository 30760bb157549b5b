"""Reading an upload: `multipart/form-data`, through the body reader (contract, section 4; RFC 7578)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Request

from app.attachments.destination import Destination, invalid_parameters, missing_parameters, read_destination
from app.attachments.drafts import ImageDraft, image_draft
from app.attachments.parts import OTHER_PARTS_BYTES, PartReader
from app.config import current_settings
from app.errors import TooLargeError
from app.http.body import body_pieces, decode, is_identity, read_body

REQUIRED_TEXTS = ("form_fill_id", "field_name")


@contextmanager
def received_upload(request: Request, part: str, kind: str) -> Iterator[tuple[Destination, ImageDraft]]:
    """The destination, and the draft with the bytes of the part `part`, which lasts as long as the block.

    Raises the `RequestError`s of section 4's table.
    """
    with image_draft() as draft:
        reader = PartReader(part, draft)
        _read_parts(request, part, reader)
        file, texts = reader.file, reader.texts()
        absent = [name for name in REQUIRED_TEXTS if not texts.get(name)] + ([] if draft.byte_size else [part])
        if absent or file is None:
            message = f"Missing or empty: {', '.join(absent)}. Send these three parts as multipart/form-data."
            raise missing_parameters(f"form_fill_id, field_name, {part}", message)
        check_size(draft.byte_size)
        yield read_destination(kind, {**texts, "filename": file.filename or ""}), draft


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
        reader.read(body.next_piece, _boundary(request, part))
    finally:
        # If the parser has given up, the rest may still break a rule that comes first, such as the size.
        while body.next_piece():
            pass


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
    """A request's body for the parser, read piece by piece within the limits of the body reader."""

    def __init__(self, request: Request, limit: int) -> None:
        self._request = request
        self._pieces = self._decoded(limit)

    def next_piece(self) -> bytes:
        """The next piece; empty at the end."""
        try:
            return next(self._pieces, b"")
        except TooLargeError:
            raise too_large(max_image_bytes()) from None

    def _decoded(self, limit: int) -> Iterator[bytes]:
        encoding = self._request.headers.get("Content-Encoding", "")
        if is_identity(encoding):
            yield from body_pieces(self._request, limit)
        else:
            # Photos are compressed already. If one comes compressed again, it is decoded as a whole.
            yield decode(read_body(self._request, limit), encoding, limit)
