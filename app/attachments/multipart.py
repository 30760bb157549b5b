"""An upload as it arrives: `multipart/form-data`, read through the gate (contract, section 4; RFC 7578)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import SEEK_END, RawIOBase
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from flask import Request
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser

from app.attachments.destination import Destination, missing_parameters, read_destination
from app.config import current_settings
from app.errors import BadJsonError, RequestError, StorageError, TooLargeError
from app.http.body import body_pieces, decode, read_body

#: What the other parts and the boundaries may take beside the photo.
OTHER_PARTS_BYTES = 64 * 1024
MAX_PARTS = 16
#: How much the parser is given at a time: it holds that much, whatever it is of.
SLICE = 64 * 1024


@contextmanager
def received_upload(request: Request, part: str, kind: str) -> Iterator[tuple[Destination, IO[bytes]]]:
    """Where the image goes, and the file with its bytes, from the part `part`, for as long as the block lasts.

    Raises the `RequestError`s of section 4's table.
    """
    missing = missing_parameters(
        f"form_fill_id, field_name, {part}", "Send these three parts as multipart/form-data, none of them empty."
    )
    with ExitStack() as kept:
        form, files = _parts(request, missing, kept)
        file = files.get(part)
        size = 0 if file is None else file.seek(0, SEEK_END)
        if not form.get("form_fill_id", "").strip() or not form.get("field_name", "").strip() or not size:
            raise missing
        check_size(size)
        file.seek(0)
        yield read_destination(kind, {**form.to_dict(), "filename": file.filename or ""}), file.stream


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


def _parts(request: Request, missing: RequestError, kept: ExitStack) -> tuple[Any, Any]:
    """The text parts and the file parts. A wrong boundary would just leave both empty (trap 15).

    Files are written to the system's temporary files as they arrive, so that a slow upload takes no memory.
    """
    parser = FormDataParser(
        # Closed with `kept`, on which the linter cannot see it.
        stream_factory=lambda *_args, **_options: kept.enter_context(SpooledTemporaryFile(SLICE)),  # noqa: SIM115
        # The parser counts what it holds of a file as well: a slice, and what may begin a boundary.
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
            # The rest, where the parser has given up: it may break a rule that comes first.
            while body.read():
                pass
    except TooLargeError:
        raise too_large(limit) from None
    except (BadJsonError, HTTPException) as error:
        # Whatever has not arrived whole is a broken multipart here; the parser's own limits are HTTPExceptions.
        raise missing from error
    except RequestError:
        raise
    except OSError as error:
        raise StorageError(f"An upload could not be written to a temporary file: {error.strerror or error}.") from error
    except Exception as error:
        # The parser has errors of several kinds; all of them say that this is no readable multipart.
        raise missing from error
    return form, files


class _Body(RawIOBase):
    """A request's body as a file that is read slice by slice, within the gate's bounds."""

    def __init__(self, request: Request, limit: int) -> None:
        self._request = request
        pieces = self._decoded(limit)
        self._slices = (piece[start : start + SLICE] for piece in pieces for start in range(0, len(piece), SLICE))

    def read(self, _size: int = -1) -> bytes:
        """The next slice, whatever size was asked for; empty at the end."""
        return next(self._slices, b"")

    def _decoded(self, limit: int) -> Iterator[bytes]:
        encoding = self._request.headers.get("Content-Encoding", "")
        if encoding.strip().lower() in ("", "identity"):
            yield from body_pieces(self._request, limit)
        else:
            # Photos are packed already; where one comes packed again, it is unpacked as a whole.
            yield decode(read_body(self._request, limit), encoding, limit)
