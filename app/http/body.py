"""The body reader: bytes in, bounded and clean JSON out. Every request body is read here.

It returns only JSON that every reader understands alike and both databases can store: within the limits of contract
section 0, without NUL and lone surrogates, with integers within ±(2**53 − 1). What is wrong with one value refuses one
item of a batch, and the whole body of any other call. Comments say where that differs from the defaults of the
libraries (traps 3 to 8).
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice, repeat
from typing import Any, NoReturn

import orjson
from flask import Request, current_app
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import ClientDisconnected, HTTPException

from app.config import current_settings
from app.core.database.engine import db
from app.core.values import MAX_INTEGER, JsonObject, may_have_large_integer
from app.errors import BadJsonError, InvalidError, MediaTypeError, RequestError, TooLargeError

#: Bytes read from the connection at a time. gunicorn copies its whole read-ahead buffer for each piece, so small pieces
#: cost more. When a connection breaks, up to one piece is lost.
PIECE = 256 * 1024

#: A gzip body usually has one member. RFC 1952 allows more, and a bomb has thousands of empty ones.
MAX_MEMBERS = 100

#: NUL and surrogates, as they stand in a text that orjson accepts.
SUSPECT_ESCAPE = re.compile(rb"\\u(0000|[dD][89a-fA-F])")

#: Some editors and libraries on Windows write it before the text. RFC 8259, section 8.1, lets a reader skip it.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

#: The parts of JSON that say how deep a place is nested; a string, which may contain brackets, counts as one. The
#: repetitions give nothing back, so that the time is linear in the length.
TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
OPENING, CLOSING = ("[", "{"), ("]", "}")
#: At most half a second's work.
MAX_TOKENS = 1_000_000
#: Far more than an integer has that can be kept, and far fewer than Python refuses to read.
MAX_DIGITS = 1000

#: The most values of a body before the sign-in, about: more take many times the memory of their bytes, and much time.
MAX_PUBLIC_VALUES = 500

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
    """Raise `BadJsonError` if the body has more values than any call before the sign-in takes. Texts may look so."""
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_PUBLIC_VALUES:
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


def parse_json(body: bytes, *, depth: int) -> tuple[Any, bool]:
    """One JSON document, and whether `find_unstorable` must look for a value that cannot be kept.

    The last of two equal keys wins, and one byte order mark before the document is skipped. Raises `BadJsonError` if
    the bytes are no JSON. Everything else that is wrong with a value is left to `find_unstorable`, so that it refuses
    one item and not the batch: integers stay exact, infinite numbers and lone surrogates are kept, and so are
    containers that are nested more than `depth` deep, without their content.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    if not needs_check(body):
        with suppress(ValueError):
            value = orjson.loads(body)
            return value, _depth(value) > depth
    return _parse_slowly(body, depth), True


def needs_check(body: bytes) -> bool:
    """Whether the values of a text that orjson accepts must be looked at. If not, they may still be nested too deep."""
    return SUSPECT_ESCAPE.search(body) is not None or may_have_large_integer(body)


def _parse_slowly(body: bytes, depth: int) -> Any:
    """The document as the standard library reads it.

    orjson would turn integers of 2**64 and more into floats, and refuse the whole batch for one surrogate, one infinite
    number or one deep value (trap 6).
    """
    try:
        # Decoded here, because the standard library would also accept UTF-16, and surrogates in UTF-8.
        text = body.decode()
        try:
            return _load(text)
        except RecursionError:
            return _load(_without_deep_content(text, depth + 1))
    except (ValueError, RecursionError) as error:
        # The parser's message names the place. UnicodeDecodeError's would quote the data.
        place = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise BadJsonError(message=f"The JSON cannot be read: {place}.") from None


def _load(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant, parse_int=_bounded_integer)


def _bounded_integer(digits: str) -> int:
    """An integer, exact as far as it can be kept. Python would refuse thousands of digits."""
    return int(digits[:MAX_DIGITS])


def _without_deep_content(text: str, depth: int) -> str:
    """`text` with empty containers at `depth`, where the parser of the standard library would recurse too far.

    Their content is not read: it belongs to a value that is refused. Only so many tokens are looked at, because a
    compressed body has millions of them.
    """
    kept, start, level = [], 0, 0
    for token in islice(TOKEN.finditer(text), MAX_TOKENS):
        if token[0] in OPENING:
            level += 1
            if level == depth:
                kept.append(text[start : token.end()])
        elif token[0] in CLOSING:
            if level == depth:
                start = token.start()
            level -= 1
    return "".join([*kept, text[start:]])


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


def find_unstorable(value: object, *, depth: int | None = None) -> str | None:
    """A sentence about the first part of `value` that cannot be kept, with its path; None if all can be.

    `depth` is the most levels of arrays and objects that it may have.
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
            if isinstance(child, CONTAINERS) and len(walks) == depth:
                reason = "arrays and objects are nested too deep here; flatten the value"
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
