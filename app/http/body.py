"""The body reader: bytes in, bounded and clean JSON out. Every request body is read here.

It returns only JSON that every reader understands alike and both databases can store: within the limits of contract
section 0, without NUL and lone surrogates, with integers within ±(2**53 − 1). Comments say where that differs from the
defaults of the libraries (traps 3 to 8).
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any, NoReturn

import orjson
from flask import Request, current_app
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import ClientDisconnected, HTTPException

from app.config import current_settings
from app.core.database.engine import db
from app.core.values import MAX_INTEGER, JsonObject
from app.errors import BadJsonError, InvalidError, MediaTypeError, RequestError, TooLargeError

#: Bytes read from the connection at a time. gunicorn copies its whole read-ahead buffer for each piece, so small pieces
#: cost more. When a connection breaks, up to one piece is lost.
PIECE = 256 * 1024

#: A gzip body usually has one member. RFC 1952 allows more, and a bomb has thousands of empty ones.
MAX_MEMBERS = 100

#: A text that orjson accepts and that contains none of these is clean, so its values need no check: an integer out of
#: range has at least 16 digits, and NUL and surrogates come only as escapes.
SUSPECT = re.compile(rb"\d{16}|\\u0000|\\u[dD][89a-fA-F]")

#: Some editors and libraries on Windows write it before the text. RFC 8259, section 8.1, lets a reader skip it.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

#: Types of JSON arrays and objects.
CONTAINERS = (dict, list)

#: Characters of a path in a message.
MAX_PATH = 200

#: Keys that the `details` of an error name, and the characters of each (contract, section 0).
MAX_DETAILS = 20
MAX_DETAIL_KEY = 100


class SlowBodyError(RequestError):
    """The body arrived too slowly. A client must not hold a thread for as long as it likes (trap 14)."""

    status = 408
    code = "too_slow"
    error = "The body did not arrive in time"
    message = "Nothing was applied. Send the request again, on a better connection or in smaller pieces."


class CutOffError(BadJsonError):
    """The body ended too early, or could not be read to its end."""

    error = "The body is cut off"
    message = "Nothing was applied. Send it again, whole."


def read_json(request: Request) -> Any:
    """The request's JSON body, with every value checked. Raises `RequestError`s: 400, 408, 413, 415."""
    value, is_suspect = read_envelope(request)
    reason = find_unstorable(value) if is_suspect else None
    if reason is not None:
        raise BadJsonError("The body has a value that cannot be kept", reason)
    return value


def read_envelope(request: Request) -> tuple[Any, bool]:
    """The request's JSON body, and whether its values must still be checked with `find_unstorable`."""
    if not request.is_json:
        raise MediaTypeError()
    settings = current_settings()
    encoding = request.headers.get("Content-Encoding", "")
    limit = settings.max_batch_bytes
    if _is_public(request):
        limit = min(limit, settings.max_public_bytes)
        if not is_identity(encoding):
            raise MediaTypeError(f"Content-Encoding {encoding!r} is not supported here", "Send the body as it is.")
    body = decode(read_body(request, limit), encoding, limit)
    is_suspect = SUSPECT.search(body) is not None
    return parse_json(body, depth=settings.max_json_depth, is_suspect=is_suspect), is_suspect


def _is_public(request: Request) -> bool:
    """Whether the request is for a view that is open to everybody, who must not cost more than they send."""
    view = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, "is_public", False)


def read_body(request: Request, limit: int) -> bytes:
    """The whole raw body. Raises as `body_pieces` does."""
    return b"".join(body_pieces(request, limit))


def body_pieces(request: Request, limit: int) -> Generator[bytes, None, None]:
    """The raw body as it arrives, at most `limit` bytes. The pieces yielded so far are valid even if an error follows.

    The session is removed first: rows that the request has read keep their values, but belong to no session any more.
    Raises `TooLargeError` (at once if Content-Length is too large), `CutOffError`, `SlowBodyError`. A caller that may
    stop before the end must close the iterator.
    """
    length = request.content_length
    if length is not None and length > limit:
        raise TooLargeError(limit, f"The body has {length} bytes")
    size = 0
    # Werkzeug cuts a chunked body at its own limit and passes on the beginning (trap 3), so we read one byte more.
    for piece in _read_pieces(request, limit + 1):
        size += len(piece)
        if size > limit:
            raise TooLargeError(limit, f"The body has more than {limit} bytes")
        yield piece
    if length is not None and size < length:
        raise CutOffError(message=f"{size} of {length} bytes arrived. Send it again, whole.")


def _read_pieces(request: Request, most: int) -> Iterator[bytes]:
    # A body may take long to arrive, and the pool has few connections to the database.
    db.session.remove()
    size = 0
    try:
        while size < most and (piece := request.stream.read(min(PIECE, most - size))):
            yield piece
            size += len(piece)
        if _is_too_slow(request):
            raise SlowBodyError()
    except ClientDisconnected as error:
        # From servers that leave the end of a body to Werkzeug.
        raise CutOffError() from error
    except (RequestError, HTTPException):
        raise
    except Exception as error:
        if _is_too_slow(request):
            raise SlowBodyError() from error
        # The WSGI server has its own exceptions for a malformed chunk or a broken connection (trap 5).
        raise CutOffError("The body could not be read", "Nothing was applied. Send the request again.") from error


def _is_too_slow(request: Request) -> bool:
    """Whether the server has given the client up: see `app.serving.patience`. Then the body ends early."""
    return getattr(request.environ.get("gunicorn.socket"), "is_too_slow", False)


def is_identity(encoding: str) -> bool:
    """Whether a Content-Encoding leaves the body as it is."""
    return encoding.strip().lower() in ("", "identity")


def decode(body: bytes, encoding: str, limit: int) -> bytes:
    """`body` without its Content-Encoding. The limit applies to the decoded bytes, so that a bomb costs nothing."""
    if is_identity(encoding):
        return body
    if encoding.strip().lower() != "gzip":
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

    One byte order mark before it is skipped.

    `is_suspect`: whether `SUSPECT` was found in it. Then integers stay exact and lone surrogates are kept, so that
    `find_unstorable` can name the item that they belong to. orjson would turn integers of 2**64 and more into floats,
    and refuse the whole batch for one surrogate (trap 6).
    """
    try:
        # Decoded here, because the standard library would also accept UTF-16, and surrogates in UTF-8.
        body = body.removeprefix(BYTE_ORDER_MARK)
        value = json.loads(body.decode(), parse_constant=_refuse_constant) if is_suspect else orjson.loads(body)
    except (ValueError, RecursionError) as error:
        # The parser's message names the place. UnicodeDecodeError's would quote the data.
        place = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise BadJsonError(message=f"The JSON cannot be read: {place}.") from None
    if _depth(value) > depth:
        raise BadJsonError(message=f"The JSON is nested more than {depth} deep.")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _depth(value: object) -> int:
    """The depth to which arrays and objects are nested; computed without recursion, and without copies of values."""
    depth = 0
    level = [value] if isinstance(value, CONTAINERS) else []
    while level:
        depth += 1
        level = [child for node in level for _, child in _entries(node) if isinstance(child, CONTAINERS)]
    return depth


def find_unstorable(value: object) -> str | None:
    """A sentence about the first part of `value` that cannot be stored, with its path; None if all can be.

    A path is built for that one part alone. With the path of every value, a long key above a long array takes their
    product in memory: a gigabyte for 210 kB of JSON.
    """
    reason = _why_unstorable(value)
    if reason is not None:
        return f"the value: {reason}."
    # The walks through the containers around the present value, and the keys that lead to the innermost of them.
    walks = [_entries(value)]
    keys: list[str | int] = []
    while walks:
        for key, child in walks[-1]:
            reason = _why_unstorable(child)
            if reason is not None:
                return f"{_path([*keys, key])}: {reason}."
            if isinstance(child, CONTAINERS):
                keys.append(key)
                walks.append(_entries(child))
                break
        else:
            walks.pop()
            del keys[-1:]
    return None


def _entries(node: object) -> Iterator[tuple[str | int, object]]:
    """The values in an object or an array, each with its key or index; of any other value none."""
    if isinstance(node, dict):
        return iter(node.items())
    return enumerate(node) if isinstance(node, list) else iter(())


def _path(keys: Iterable[str | int]) -> str:
    """`a[1].b` in ASCII, for people; keys are cut, and so is the whole."""
    path = ""
    for key in keys:
        if isinstance(key, int):
            path += f"[{key}]"
        else:
            path += f".{key[:MAX_PATH]}" if path else key[:MAX_PATH]
    return path.encode("ascii", "backslashreplace").decode()[:MAX_PATH] or "the value"


def _why_unstorable(node: object) -> str | None:
    """Why a value, without its children, cannot be stored."""
    match node:
        # Numbers come first, because large arrays are mostly made of them.
        case int():
            is_kept = -MAX_INTEGER <= node <= MAX_INTEGER
            return None if is_kept else "the integer is beyond ±(2**53 - 1), which not every JSON reader keeps"
        case str():
            return _why_unstorable_text(node)
        case dict():
            return next((f"a key: {reason}" for key in node if (reason := _why_unstorable_text(key))), None)
        case float() if not math.isfinite(node):
            return "the number is not finite"
    return None


def _why_unstorable_text(text: str) -> str | None:
    if "\0" in text:
        return "the text contains NUL (U+0000), which cannot be stored"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "the text contains a lone surrogate, which is no character"
    return None


def details_of(error: ValidationError) -> JsonObject:
    """marshmallow's messages as JSON, for the first `MAX_DETAILS` keys; long keys are cut.

    A client sends as many wrong keys as it likes, and must not get an answer of megabytes. marshmallow's integer keys
    for the elements of a list become text.
    """
    details: JsonObject = _bounded(error.normalized_messages(), repeat(None, MAX_DETAILS))  # type: ignore[no-untyped-call]
    return details


def _bounded(value: Any, allowance: Iterator[None]) -> Any:
    """`value` with as many keys as there are in `allowance`, at all levels together."""
    if not isinstance(value, dict):
        return value
    # `zip` asks for a key first, so that the end of an object takes nothing from the allowance.
    shown = zip(value.items(), allowance, strict=False)
    return {str(key)[:MAX_DETAIL_KEY]: _bounded(child, allowance) for (key, child), _ in shown}


class JsonParser(FlaskParser):
    """The webargs parser of the REST routes: it uses our body reader, and refuses unknown keys by name."""

    def load_json(self, req: Request, schema: Schema) -> object:
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
        """Raise a validation error in our shape; webargs would answer 422."""
        # webargs puts the location (json, query) on top, which the client knows.
        (messages,) = error.normalized_messages().values()
        raise InvalidError(extra={"details": details_of(ValidationError(messages))})
