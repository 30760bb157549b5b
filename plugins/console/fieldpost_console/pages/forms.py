"""Between the fields of a form, whose names are paths such as `property.address`, and nested values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import request


def values_by_path(fields: Mapping[str, str]) -> dict[str, Any]:
    """`{"property.address": "x"}` -> `{"property": {"address": "x"}}`, one level deep."""
    values: dict[str, Any] = {}
    for path, text in fields.items():
        name, _, key = path.partition(".")
        if not key:
            values[name] = text
        elif isinstance(inner := values.setdefault(name, {}), dict):
            inner[key] = text
    return values


def faults_by_field(messages: Mapping[Any, Any]) -> dict[str, list[str]]:
    """The messages of a schema by the names of the form's fields. Those of a list's elements belong to the list."""
    faults: dict[str, list[str]] = {}
    for name, texts in messages.items():
        if not isinstance(texts, Mapping):
            faults[str(name)] = [str(text) for text in texts]
            continue
        for key, inner in texts.items():
            field = str(name) if isinstance(key, int) else f"{name}.{key}"
            faults.setdefault(field, []).extend(str(text) for text in inner)
    return faults


def read_search() -> str:
    """The search in the address. A NUL is in no text, and PostgreSQL refuses to look for one."""
    return request.args.get("q", "").replace("\0", "\ufffd")


def read_number(text: str) -> int | None:
    """The number that a form or an address names in at most 15 digits, such as an id; None if it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 15 else None
