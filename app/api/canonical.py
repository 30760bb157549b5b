"""RFC 8785 canonical JSON, for checksums that a client can compute from what it has read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import rfc8785

from app.core.values import JsonObject

#: Keys are sorted by UTF-16 units; below this character that is the order of code points, in which orjson sorts.
FIRST_BEYOND = "\ue000"


def canonical_json(value: Any) -> bytes:
    """The canonical JSON of a value.

    orjson writes the same many times as fast, except for floats and for the order of keys in rare scripts.
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS) if _is_plain(value) else rfc8785.dumps(value)


def canonical_object(fields: JsonObject, parts: Mapping[str, bytes]) -> bytes:
    """The canonical JSON of an object with these fields, and further ones whose canonical JSON is known already."""
    if _is_plain(fields):
        fragments = {name: orjson.Fragment(part) for name, part in parts.items()}
        return orjson.dumps({**fields, **fragments}, option=orjson.OPT_SORT_KEYS)
    members = {**{name: canonical_json(value) for name, value in fields.items()}, **parts}
    names = sorted(members, key=lambda name: name.encode("utf-16-be"))
    return b"{" + b",".join(canonical_json(name) + b":" + members[name] for name in names) + b"}"


def _is_plain(value: object) -> bool:
    if value is None or isinstance(value, str | int):
        return True
    if isinstance(value, dict):
        return all(_is_plain_key(key) for key in value) and all(map(_is_plain, value.values()))
    return isinstance(value, list) and all(map(_is_plain, value))


def _is_plain_key(key: object) -> bool:
    return isinstance(key, str) and (key.isascii() or max(key) < FIRST_BEYOND)
