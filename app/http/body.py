"""The body reader: bytes in, bounded and clean JSON out. Every request body is read here.

It returns only JSON that every reader understands alike and both databases can store: within the limits of contract
section 0, without NUL and lone surrogates, with integers within ±(2**53 − 1). What is wrong with one value refuses one
item of a batch, and the whole body of any other call. Comments say where that differs from the defaults of the
libraries (traps 3 to 8). `json_text.py` has the parsers.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any, NoReturn

from flask import Request, current_app
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import ClientDisconnected, HTTPException

from app.config import current_settings
from app.core.database.engine import db
from app.core.values import MAX_INTEGER, JsonObject
from app.errors import BadJsonError, InvalidError, MediaTypeError, RequestError, TooLargeError
from app.http.json_text import CONTAINERS, RepeatingObject, entries, parse_json

#: Bytes read from the connection at a time. Of a chunked body, gunicorn copies its whole read-ahead buffer for each
#: piece, so small pieces cost more. When a connection breaks, up to one piece is lost.
PIECE = 256 * 1024

#: A gzip body usually has one member. RFC 1952 allows more, and a bomb has thousands of empty ones.
MAX_MEMBERS = 100

#: The most values of a body before the sign-in, about: more take many times the memory of their bytes, and much time.
MAX_PUBLIC_VALUES = 200

#: The most keys and texts among them.
MAX_PUBLIC_TEXTS = 40

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
    retryable = True
    message = "Nothing was applied. Send the request again, on a better connection or in smaller pieces."


class CrowdedOutError(SlowBodyError):
    """The body arrived slowly, and others needed the memory that held it."""

    status = 503
    code = "try_again"
    error = "Too many slow requests"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "5"})


class CutOffError(BadJsonError):
    """The body ended too early, or could not be read to its end."""

    error = "The body is cut off"
    message = "Nothing was applied. Send it again, whole."
    retryable = True


def read_json(request: Request) -> Any:
    """The request's JSON body, with every value checked. Raises `RequestError`s: 400, 408, 413, 415."""
    value, is_suspect = read_envelope(request)
    reason = find_unstorable(value, depth=current_settings().max_json_depth) if is_suspect else None
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
    if _is_public(request):
        _check_count(body)
    return parse_json(body, depth=settings.max_json_depth)


def _is_public(request: Request) -> bool:
    """Whether the request is for a view that is open to everybody, who must not cost more than they send."""
    view = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, "is_public", False)


def _check_count(body: bytes) -> None:
    """Raise `BadJsonError` if the body has more values than any call before the sign-in takes.

    A long password may look like many values, but not like many texts: a quotation mark in it is escaped.
    """
    values, marks = sum(map(body.count, (b",", b"[", b"{"))), body.count(b'"') - body.count(b'\\"')
    if values > MAX_PUBLIC_VALUES or marks > 2 * MAX_PUBLIC_TEXTS:
        raise BadJsonError("The body has too many values", "Send the keys that this call takes, and no more.")


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
        _check_pace(request)
    except ClientDisconnected as error:
        # From servers that leave the end of a body to Werkzeug.
        raise CutOffError() from error
    except (RequestError, HTTPException):
        raise
    except Exception as error:
        _check_pace(request)
        # The WSGI server has its own exceptions for a malformed chunk or a broken connection (trap 5).
        raise CutOffError("The body could not be read", "Nothing was applied. Send the request again.") from error


def _check_pace(request: Request) -> None:
    """Raise if the server has given the client up: see `app.serving.patience`. Then the body ends early."""
    connection = request.environ.get("gunicorn.socket")
    if getattr(connection, "is_crowded_out", False):
        raise CrowdedOutError()
    if getattr(connection, "is_too_slow", False):
        raise SlowBodyError()


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


def find_unstorable(value: object, *, depth: int | None = None) -> str | None:
    """A sentence about the first part of `value` that cannot be kept, with its path; None if all can be.

    `depth` is the most levels of arrays and objects that it may have. If a key came twice in `value` itself, one of two
    values would be lost; of objects inside it the last one counts.
    A path is built for that one part alone. With the path of every value, a long key above a long array takes their
    product in memory: a gigabyte for 210 kB of JSON.
    """
    reason = _why_unstorable(value)
    if reason is not None:
        return f"the value: {reason}."
    if isinstance(value, RepeatingObject):
        return f"{_path([value.key])}: the key comes twice. Send it once."
    # The walks through the containers around the present value, and the keys that lead to the innermost of them.
    walks = [entries(value)]
    keys: list[str | int] = []
    while walks:
        for key, child in walks[-1]:
            reason = _why_unstorable(child)
            if isinstance(child, CONTAINERS) and len(walks) == depth:
                reason = "arrays and objects are nested too deep here; flatten the value"
            if reason is not None:
                return f"{_path([*keys, key])}: {reason}."
            if isinstance(child, CONTAINERS):
                keys.append(key)
                walks.append(entries(child))
                break
        else:
            walks.pop()
            del keys[-1:]
    return None


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
            return "the number is beyond the range of a double"
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


def read_query(request: Request, *known: str) -> dict[str, str]:
    """The query of a view that needs no schema. Raises `InvalidError` for unknown keys, and for those that come twice.

    A device that sends `since` where `cursor` is meant would otherwise get everything, every time, without a word.
    """
    _refuse_query([name for name, values in request.args.lists() if len(values) > 1], "Send it once.")
    _refuse_query([name for name in request.args if name not in known], "Unknown field.")
    return request.args.to_dict()


def _refuse_query(names: list[str], sentence: str) -> None:
    if names:
        details = {name[:MAX_DETAIL_KEY]: [sentence] for name in names[:MAX_DETAILS]}
        raise InvalidError(extra={"details": details})


class JsonParser(FlaskParser):
    """The webargs parser of the REST routes: it uses our body reader, and refuses unknown keys by name."""

    def load_json(self, req: Request, schema: Schema) -> object:
        """The body, for webargs."""
        return read_json(req)

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        """The query, for webargs, which would drop one of two equal keys without a word."""
        _refuse_query([name for name, values in req.args.lists() if len(values) > 1], "Send it once.")
        return super().load_querystring(req, schema)

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
