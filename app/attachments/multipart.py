"""Reading an upload: `multipart/form-data`, through the body reader (contract, section 4; RFC 7578)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import SEEK_END, BytesIO, RawIOBase
from tempfile import SpooledTemporaryFile
from typing import IO

from flask import Request
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from app.attachments.destination import Destination, missing_parameters, read_destination
from app.config import current_settings
from app.errors import BadJsonError, RequestError, StorageError, TooLargeError
from app.http.body import CutOffError, body_pieces, decode, read_body

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
        form, files = _parts(request, part, missing, kept)
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
    request: Request, part: str, missing: RequestError, kept: ExitStack
) -> tuple[MultiDict[str, str], MultiDict[str, FileStorage]]:
    """The text parts and the file parts. With a wrong boundary both are empty (trap 15).

    Files are written to temporary files as they arrive, so that a slow upload takes no memory.
    """
    limit = max_image_bytes()
    body = _Body(request, limit + OTHER_PARTS_BYTES)
    try:
        try:
            form, files = _Parts(part, kept).read(body, _boundary(request))
        finally:
            # If the parser has given up, the rest may still break a rule that comes first, such as the size.
            while body.read():
                pass
    except TooLargeError:
        raise too_large(limit) from None
    except CutOffError:
        raise
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


def _boundary(request: Request) -> bytes:
    """The boundary of the multipart. Raises `ValueError` if the body is none."""
    boundary = request.mimetype_params.get("boundary", "")
    if request.mimetype != "multipart/form-data" or not boundary:
        raise ValueError("no multipart/form-data with a boundary")
    return boundary.encode("ascii")


class _Parts:
    """The parts of a multipart as they arrive. The part with the image is a file, with or without a file name."""

    def __init__(self, file_part: str, kept: ExitStack) -> None:
        self._file_part = file_part
        self._kept = kept
        self._form: MultiDict[str, str] = MultiDict()
        self._files: MultiDict[str, FileStorage] = MultiDict()
        self._part: Field | File | None = None
        self._content: IO[bytes] = BytesIO()

    def read(self, body: _Body, boundary: bytes) -> tuple[MultiDict[str, str], MultiDict[str, FileStorage]]:
        """The text parts and the file parts. Raises `ValueError` or an `HTTPException` if the multipart is broken."""
        # The decoder also counts the part of a file that it holds: a slice, and the possible beginning of a boundary.
        decoder = MultipartDecoder(boundary, max_form_memory_size=SLICE + OTHER_PARTS_BYTES, max_parts=MAX_PARTS)
        while True:
            piece = body.read()
            decoder.receive_data(piece or None)
            while not isinstance(event := decoder.next_event(), Epilogue | NeedData):
                self._take(event)
            if not piece:
                return self._form, self._files

    def _take(self, event: Event) -> None:
        if isinstance(event, Field | File):
            self._part = event
            # Closed with `kept`, which the linter cannot see.
            self._content = (
                self._kept.enter_context(SpooledTemporaryFile(SLICE)) if self._is_file(event) else BytesIO()  # noqa: SIM115
            )
        elif isinstance(event, Data):
            self._write(event.data)
            if not event.more_data:
                self._finish()

    def _is_file(self, part: Field | File) -> bool:
        return isinstance(part, File) or part.name == self._file_part

    def _write(self, data: bytes) -> None:
        if isinstance(self._content, BytesIO) and self._content.tell() + len(data) > OTHER_PARTS_BYTES:
            raise RequestEntityTooLarge()
        self._content.write(data)

    def _finish(self) -> None:
        part = self._part
        assert part is not None
        self._content.seek(0)
        if self._is_file(part):
            filename = part.filename if isinstance(part, File) else ""
            self._files.add(part.name, FileStorage(self._content, filename, part.name, headers=part.headers))
        else:
            self._form.add(part.name, self._content.read().decode(_charset(part), "replace"))


def _charset(part: Field | File) -> str:
    """The charset of a text part: UTF-8, or one of the few others that clients send."""
    _, parameters = parse_options_header(part.headers.get("content-type", ""))
    charset = parameters.get("charset", "").lower()
    return charset if charset in ("ascii", "us-ascii", "iso-8859-1") else "utf-8"


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
