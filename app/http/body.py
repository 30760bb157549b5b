"""The gate: bytes in, bounded and clean JSON out. The one reader of request bodies, `auth`'s too.

What it lets through is JSON that every reader understands alike and both databases store: within the limits of
contract section 0, without NUL and lone surrogates, integers within ±(2**53 − 1). What the stack does by default
is told in comments (traps 3 to 8).
"""

from __future__ import annotations

import json
import re
import time
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from socket import SHUT_RD, socket
from typing import Any, NoReturn

import orjson
from flask import Request
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import ClientDisconnected, HTTPException

from app.config import current_settings
from app.core.values import MAX_INTEGER
from app.errors import BadJsonError, InvalidError, MediaTypeError, RequestError, TooLargeError
from app.http.deadlines import deadlines

#: How much is read from the connection at a time: gunicorn copies all that it has read ahead for each piece that it
#: hands out, so small ones cost more, and of a connection that breaks up to one is lost.
PIECE = 256 * 1024

#: A gzip body is one member; RFC 1952 allows more, and a bomb is made of thousands of empty ones.
MAX_MEMBERS = 100

#: Without one of these in it, a text that orjson accepts is clean, and no value needs to be looked at: an integer
#: out of range has at least 16 digits, NUL and surrogates come only as escapes.
SUSPECT = re.compile(rb"\d{16}|\\u0000|\\u[dD][89a-fA-F]")


class SlowBodyError(RequestError):
    """The body did not arrive in time: a thread cannot be held for as long as a client likes (trap 14)."""

    status = 408
    code = "too_slow"
    error = "The body did not arrive in time"
    message = "Nothing was applied. Send the request again, on a better connection or in smaller pieces."


class CutOffError(BadJsonError):
    """The body ended before its end, or could not be read to it."""

    error = "The body is cut off"


def read_json(request: Request) -> Any:
    """The request's JSON body, every value clean. Raises `RequestError`s: 400, 408, 413, 415."""
    value, is_suspect = read_envelope(request)
    fault = faults(value) if is_suspect else None
    if fault is not None:
        raise BadJsonError("The body has a value that cannot be kept", fault)
    return value


def read_envelope(request: Request) -> tuple[Any, bool]:
    """The request's JSON body, and whether its values must still be looked at: `faults` does, for each item."""
    if not request.is_json:
        raise MediaTypeError()
    settings = current_settings()
    limit = settings.max_batch_bytes
    body = decode(read_body(request, limit), request.headers.get("Content-Encoding", ""), limit)
    is_suspect = SUSPECT.search(body) is not None
    return parse_json(body, depth=settings.max_json_depth, is_suspect=is_suspect), is_suspect


def read_body(request: Request, limit: int) -> bytes:
    """The raw body: whole, at most `limit` bytes, within the time that a body may take."""
    return b"".join(body_pieces(request, limit))


def body_pieces(request: Request, limit: int) -> Generator[bytes, None, None]:
    """The raw body as it arrives. What was yielded did arrive, and is within `limit`, whatever is raised after it.

    Raises `TooLargeError`, at once where Content-Length tells; `CutOffError`; `SlowBodyError`. Whoever may stop
    before the end closes the iterator.
    """
    length = request.content_length
    if length is not None and length > limit:
        raise TooLargeError(limit, f"The body has {length} bytes")
    size = 0
    # Werkzeug cuts a chunked body at its own limit and passes the prefix on (trap 3); so we read one byte more.
    for piece in _read_pieces(request, limit + 1):
        size += len(piece)
        if size > limit:
            raise TooLargeError(limit, f"The body has more than {limit} bytes")
        yield piece
    if length is not None and size < length:
        raise CutOffError(message=f"{size} of {length} bytes arrived. Send it again, whole.")


def _read_pieces(request: Request, most: int) -> Iterator[bytes]:
    seconds = current_settings().body_seconds
    deadline = time.monotonic() + seconds
    size = 0
    try:
        with _hanging_up(request, seconds):
            while size < most:
                piece = request.stream.read(min(PIECE, most - size))
                if piece:
                    yield piece
                if time.monotonic() > deadline:
                    raise SlowBodyError()
                if not piece:
                    break
                size += len(piece)
    except ClientDisconnected as error:
        # Of servers that leave the end of a body to Werkzeug.
        raise CutOffError() from error
    except (RequestError, HTTPException):
        raise
    except Exception as error:
        if time.monotonic() > deadline:
            raise SlowBodyError() from error
        # The WSGI server has classes of its own for a malformed chunk or a connection that broke (trap 5).
        raise CutOffError("The body could not be read", "Nothing was applied. Send the request again.") from error


def _hanging_up(request: Request, seconds: float) -> AbstractContextManager[None]:
    """Stop listening to the client after `seconds`; what is answered still reaches it.

    gunicorn waits until a piece is full, so a body that drips in, or stops, would hold its thread for as long as the
    client likes, and no deadline would ever be looked at (trap 14).
    """
    connection = request.environ.get("gunicorn.socket")
    if connection is None:
        return nullcontext()
    return deadlines.within(seconds, partial(_hang_up, connection))


def _hang_up(connection: socket) -> None:
    # The client may have gone in the meantime.
    with suppress(OSError):
        connection.shutdown(SHUT_RD)


def decode(body: bytes, encoding: str, limit: int) -> bytes:
    """`body` without its Content-Encoding. The limit holds for what comes out, so that a bomb costs nothing."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise MediaTypeError(f"Content-Encoding {encoding!r} is not supported", "Send the body as it is, or gzip.")
    pieces: list[bytes] = []
    size = 0
    try:
        while body:
            if len(pieces) == MAX_MEMBERS:
                raise zlib.error(f"it has more than {MAX_MEMBERS} members")
            member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            piece = member.decompress(body, limit - size + 1)
            size += len(piece)
            pieces.append(piece)
            if size > limit:
                raise TooLargeError(limit, f"The body has more than {limit} bytes, decoded")
            if not member.eof:
                raise zlib.error("cut off")
            body = member.unused_data
    except zlib.error as error:
        raise BadJsonError(f"The gzip body cannot be decoded: {error}", "Send it again, whole.") from None
    return b"".join(pieces)


def parse_json(body: bytes, *, depth: int, is_suspect: bool = True) -> Any:
    """One JSON document, nested at most `depth` deep; the last of two equal keys wins. Raises `BadJsonError`.

    `is_suspect`: whether `SUSPECT` is found in it. Then integers are exact and lone surrogates are kept, so that
    `faults` can tell whose they are: orjson would turn integers of 2**64 and more into floats, and refuse the whole
    batch for one surrogate (trap 6).
    """
    try:
        # Decoded here: the standard library would also take surrogates in UTF-8, and UTF-16.
        value = json.loads(body.decode(), parse_constant=_refuse_constant) if is_suspect else orjson.loads(body)
    except (ValueError, RecursionError) as error:
        # The reader's sentence names the place; UnicodeDecodeError's would quote the data.
        place = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise BadJsonError(message=f"The JSON cannot be read: {place}.") from None
    if _depth(value) > depth:
        raise BadJsonError(message=f"The JSON is nested more than {depth} deep.")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _depth(value: Any) -> int:
    """How deep arrays and objects are nested; without recursion."""
    depth, level = 0, [value]
    while level:
        containers = [each for each in level if isinstance(each, dict | list)]
        depth += bool(containers)
        level = []
        for each in containers:
            level.extend(each.values() if isinstance(each, dict) else each)
    return depth


def faults(value: Any) -> str | None:
    """The first thing in `value` that cannot be kept, with its path, as a sentence; None: all is clean."""
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        path, each = pending.pop()
        if isinstance(each, str):
            fault = _text_fault(each)
        elif isinstance(each, dict):
            fault = next((f"a key: {found}" for key in each if (found := _text_fault(key))), None)
            pending.extend((f"{path}.{key}" if path else key, child) for key, child in each.items())
        elif isinstance(each, list):
            fault = None
            pending.extend((f"{path}[{index}]", child) for index, child in enumerate(each))
        elif isinstance(each, int) and not -MAX_INTEGER <= each <= MAX_INTEGER:
            fault = "the integer is beyond ±(2**53 - 1), which not every JSON reader keeps"
        elif isinstance(each, float) and each - each != 0.0:
            fault = "the number is not finite"
        else:
            fault = None
        if fault is not None:
            where = path.encode("ascii", "backslashreplace").decode()[:200] or "the value"
            return f"{where}: {fault}."
    return None


def _text_fault(text: str) -> str | None:
    if "\0" in text:
        return "the text contains NUL (U+0000), which cannot be stored"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "the text contains a lone surrogate, which is no character"
    return None


def details_of(error: ValidationError) -> dict[str, Any]:
    """marshmallow's messages as JSON: it names the places in a list by integers, which JSON does not take as keys."""
    found: dict[str, Any] = _with_text_keys(error.normalized_messages())  # type: ignore[no-untyped-call]
    return found


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _with_text_keys(child) for key, child in value.items()}
    return value


class JsonParser(FlaskParser):
    """The webargs parser of the REST routes: bodies come through the gate, unknown keys are refused and named."""

    def load_json(self, req: Request, schema: Schema) -> Any:
        """The body, for webargs."""
        return read_json(req)

    def handle_error(
        self,
        error: Any,
        req: Request,
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: Mapping[str, str] | None,
    ) -> NoReturn:
        """A validation error in our shape; webargs would answer 422."""
        details = details_of(error)
        # webargs puts the place (json, query) on top; the client knows where it sent what.
        raise InvalidError(extra={"details": next(iter(details.values())) if len(details) == 1 else details})
