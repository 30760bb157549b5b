"""JSON texts, read so that what is wrong with one value can be judged by itself.

Two parsers take turns: orjson reads the usual texts, and the standard library those that orjson would change or refuse
as a whole (trap 6). What both of them would lose without a word, the first of two values of one key, is found here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, NoReturn

import orjson

from app.core.values import may_have_large_integer
from app.errors import BadJsonError

#: NUL and surrogates, as they stand in a text that orjson accepts.
SUSPECT_ESCAPE = re.compile(rb"\\u(0000|[dD][89a-fA-F])")

#: Some editors and libraries on Windows write it before the text. RFC 8259, section 8.1, lets a reader skip it.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

#: The characters that may stand between the tokens of JSON.
BLANKS = b" \t\r\n"

#: The parts of JSON that say how deep a place is nested; a string, which may contain brackets, counts as one. The
#: repetitions give nothing back, so that the time is linear in the length.
TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
OPENING, CLOSING = ("[", "{"), ("]", "}")
#: At most half a second's work.
MAX_TOKENS = 1_000_000
#: Far more than an integer has that can be kept, and far fewer than Python refuses to read.
MAX_DIGITS = 1000

#: Types of JSON arrays and objects.
CONTAINERS = (dict, list)


class RepeatingObject(dict[str, Any]):
    """A JSON object in whose text a key came twice, with the last of its values."""

    __slots__ = ("key",)
    #: The first that came again.
    key: str

    @classmethod
    def of(cls, pairs: list[tuple[str, Any]]) -> RepeatingObject:
        """The object with these keys and values, in the order of its text."""
        value, before = cls(pairs), set[str]()
        for key, _ in pairs:
            if key in before:
                value.key = key
                break
            before.add(key)
        return value


def parse_json(body: bytes, *, depth: int) -> tuple[Any, bool]:
    """One JSON document, and whether `find_unstorable` must look for a value that cannot be kept.

    One byte order mark before the document is skipped. Raises `BadJsonError` if the bytes are no JSON, or a key comes
    twice in the outermost object. Everything else that is wrong with a value is left to `find_unstorable`, so that it
    refuses one item and not the batch: integers stay exact, infinite numbers, lone surrogates and `RepeatingObject`s
    are kept, and so are containers that are nested more than `depth` deep, without their content.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    if not needs_check(body):
        with suppress(ValueError):
            value = orjson.loads(body)
            levels, keys = _extent(value)
            if levels <= depth and keys == _most_keys(body):
                return value, False
    value = _parse_slowly(body, depth)
    if isinstance(value, RepeatingObject):
        raise BadJsonError("A key comes twice", f"Send {value.key[:100]!a} once. Nothing was applied.")
    return value, True


def needs_check(body: bytes) -> bool:
    """Whether the values of a text that orjson accepts must be looked at. If not, they may still be nested too deep."""
    return SUSPECT_ESCAPE.search(body) is not None or may_have_large_integer(body)


def _most_keys(body: bytes) -> int:
    """How many keys all objects of a JSON text have, equal ones included; more if a text in it looks like a key.

    Hardly any text does. To search for equal keys in all bodies by another parser would double the time of reading.
    """
    return body.translate(None, BLANKS).count(b'":')


def _extent(value: object) -> tuple[int, int]:
    """To which depth arrays and objects are nested, and how many keys all objects have.

    It is computed without recursion, and without copies of values.
    """
    depth = keys = 0
    level = [value] if isinstance(value, CONTAINERS) else []
    while level:
        depth += 1
        keys += sum(len(node) for node in level if isinstance(node, dict))
        level = [child for node in level for _, child in entries(node) if isinstance(child, CONTAINERS)]
    return depth, keys


def entries(node: object) -> Iterator[tuple[str | int, object]]:
    """The values in an object or an array, each with its key or index; of any other value none."""
    if isinstance(node, dict):
        return iter(node.items())
    return enumerate(node) if isinstance(node, list) else iter(())


def _parse_slowly(body: bytes, depth: int) -> Any:
    """The document as the standard library reads it.

    orjson would turn integers of 2**64 and more into floats, and refuse the whole batch for one surrogate, one infinite
    number or one deep value (trap 6).
    """
    try:
        # Decoded here, because the standard library would also accept UTF-16, and surrogates in UTF-8.
        text = body.decode()
        with suppress(RecursionError):
            value = _load(text)
            if _extent(value)[0] <= depth:
                return value
        return _load(_without_deep_content(text, depth + 1))
    except (ValueError, RecursionError) as error:
        # The parser's message names the place. UnicodeDecodeError's would quote the data.
        place = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise BadJsonError(message=f"The JSON cannot be read: {place}.") from None


def _load(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_int=_bounded_integer)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    return value if len(value) == len(pairs) else RepeatingObject.of(pairs)


def _bounded_integer(digits: str) -> int:
    """An integer, exact as far as it can be kept. Python would refuse thousands of digits."""
    return int(digits[:MAX_DIGITS])


def _without_deep_content(text: str, depth: int) -> str:
    """`text` with empty containers at `depth`.

    Their content is not read: it belongs to a value that is refused, and at some depth, which is another one in each
    release of Python, no library reads or writes JSON any more. Only so many tokens are looked at, because a
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
