"""Reading an upload: `multipart/form-data`, through the body reader (contract, section 4; RFC 7578)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import SEEK_END, RawIOBase
from tempfile import SpooledTemporaryFile
from typing import IO, cast

from flask import Request
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser

from app.attachments.destination import Destination, missing_parameters, read_destination
from app.config import current_settings
from app.errors import BadJsonError, RequestError, StorageError, TooLargeError
from app.http.body import body_pieces, decode, read_body

#: Bytes that the other parts and the boundaries may take besides the photo.
OTHER_PARTS_BYTES = 64 * 1024
MAX_PARTS = 16
#: Bytes that the parser gets at a time, and so holds in memory.
SLICE = 64 * 1024


@contextmanager
def received_upload(request: Request, part: str, kind: str) -> Iterator[tuple[Destination, IO[bytes]]]:
    """The destination, and the file with the bytes of the part `part`, which lasts as long as the block.

    Raises the `RequestError`s of section 4's table.
    """
    missing = missing_parameters(
        f"form_fill_id, field_name, {part}", "Send these three parts as multipart/form-data, none of them empty."
    )
    with ExitStack() as kept:
        form, files = _parts(request, missing, kept)
        file = files.get(part)
        size = 0 if file is None else file.seek(0, SEEK_END)
        has_texts = all(form.get(name, "").strip() for name in ("form_fill_id", "field_name"))
        if file is None or size == 0 or not has_texts:
            raise missing
        check_size(size)
        file.seek(0)
        yield read_destination(kind, {**form.to_dict(), "filename": file.filename or ""}), file.stream


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


def _parts(
    request: Request, missing: RequestError, kept: ExitStack
) -> tuple[MultiDict[str, str], MultiDict[str, FileStorage]]:
    """The text parts and the file parts. With a wrong boundary both are empty (trap 15).

    Files are written to temporary files as they arrive, so that a slow upload takes no memory.
    """
    parser = FormDataParser(
        # Closed with `kept`, which the linter cannot see.
        stream_factory=lambda *_args, **_options: kept.enter_context(SpooledTemporaryFile(SLICE)),  # noqa: SIM115
        # The parser also counts the part of a file that it holds: a slice, and the possible beginning of a boundary.
        max_form_memory_size=SLICE + OTHER_PARTS_BYTES,
        max_form_parts=MAX_PARTS,
        silent=False,
    )
    limit = max_image_bytes()
    body = _Body(request, limit + OTHER_PARTS_BYTES)
    try:
        try:
            _, form, files = parser.parse(cast(IO[bytes], body), request.mimetype, None, request.mimetype_params)
        finally:
            # If the parser has given up, the rest may still break a rule that comes first, such as the size.
            while body.read():
                pass
    except TooLargeError:
        raise too_large(limit) from None
    except (BadJsonError, HTTPException) as error:
        # A body that has not arrived whole is a broken multipart. The parser's own limits raise HTTPExceptions.
        raise missing from error
    except RequestError:
        raise
    except OSError as error:
        raise StorageError(f"An upload could not be written to a temporary file: {error.strerror or error}.") from error
    except Exception as error:
        # The parser raises several kinds of errors; all of them mean that the multipart cannot be read.
        raise missing from error
    return form, files


class _Body(RawIOBase):
    """A request's body as a file for the parser, read slice by slice within the limits of the body reader."""

    def __init__(self, request: Request, limit: int) -> None:
        self._request = request
        pieces = self._decoded(limit)
        self._slices = (piece[start : start + SLICE] for piece in pieces for start in range(0, len(piece), SLICE))

    def read(self, _size: int = -1) -> bytes:
        """The next slice, independent of the requested size; empty at the end."""
        return next(self._slices, b"")

    def _decoded(self, limit: int) -> Iterator[bytes]:
        encoding = self._request.headers.get("Content-Encoding", "")
        if encoding.strip().lower() in ("", "identity"):
            yield from body_pieces(self._request, limit)
        else:
            # Photos are compressed already. If one comes compressed again, it is decoded as a whole.
            yield decode(read_body(self._request, limit), encoding, limit)
