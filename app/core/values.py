"""Values on the wire: ids, names, timestamps, the equality of JSON values, each with one meaning for the whole server.

Timestamps from clients are RFC 3339, read strictly and kept in UTC and whole milliseconds (contract, section 0).
Any module may import this one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias

from marshmallow import ValidationError, fields, validate

from app.clock import cut, to_wire

#: A JSON object: text keys, JSON values.
JsonObject: TypeAlias = dict[str, Any]

#: Names of columns or fields, and their values in Python.
Values: TypeAlias = Mapping[str, Any]

#: Beyond it not every JSON reader keeps an integer (contract, section 0); ids too.
MAX_INTEGER = 2**53 - 1

#: The digits of an integer beyond `MAX_INTEGER`, at least, when all of them have been made zeros.
MANY_DIGITS, AS_ZEROS = b"0" * 16, bytes.maketrans(b"123456789", b"000000000")

#: RFC 9562, section 4: the text form of a UUID, in either case.
UUID_FORM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)

#: An id as text. Apps whose numbers are all of one kind write 11.0.
ID_FORM = re.compile(r"-?[0-9]{1,16}(\.0+)?", re.ASCII)

NO_ID = "Not a valid id."

#: The characters of a name: of a form template, and of its fields.
NAME_LENGTH = 255

#: RFC 3339, section 5.6, with its permitted liberties: lower case, a space for the T, no offset (meaning UTC).
PATTERN = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)

NO_TIMESTAMP = "Not a valid RFC 3339 timestamp, such as 2024-03-15T10:30:00.000Z."

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)


def nfc(name: str) -> str:
    """A name in the form NFC of Unicode, in which names are kept (contract, section 0).

    Some systems write the ü of one visible name as one character, and others as two.
    """
    return unicodedata.normalize("NFC", name)


def read_id(value: object) -> int:
    """The id that a JSON value or a text names: `11`, `11.0` and `"11"` are the same (contract, section 0).

    Raises `ValueError` with a sentence for the client if it is no whole number within ±`MAX_INTEGER`.
    """
    if isinstance(value, int):  # as nearly all clients send it
        number = None if isinstance(value, bool) else value
    elif isinstance(value, str) and ID_FORM.fullmatch(value):
        number = int(value.partition(".")[0])
    else:
        number = int(value) if isinstance(value, float) and value.is_integer() else None
    if number is None or abs(number) > MAX_INTEGER:
        raise ValueError(NO_ID)
    return number


def may_have_large_integer(text: bytes) -> bool:
    """Whether JSON may have an integer beyond `MAX_INTEGER`; only one that has so many digits at a stretch may.

    All bodies and documents pass through here, and the pattern `\\d{16}` would take far longer.
    """
    return MANY_DIGITS in text.translate(AS_ZEROS)


def read_key(value: object) -> int | str:
    """The id, or the client_id in lower case, by which a value names a row that a device may have made.

    Raises `ValueError` with a sentence for the client if it is neither.
    """
    return value.lower() if isinstance(value, str) and UUID_FORM.fullmatch(value) else read_id(value)


def read_text_id(value: object) -> str:
    """The id of a row whose ids are texts. Raises `ValueError` with a sentence for the client."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(NO_ID)
    return value


def parse_timestamp(text: object) -> datetime:
    """The moment that `text` names, UTC, cut to milliseconds. Raises `ValueError` with a sentence for the client."""
    if not isinstance(text, str):
        raise ValueError(NO_TIMESTAMP)
    return _parse(text)


# The rows of a batch often have few versions between them.
@lru_cache(maxsize=1024)
def _parse(text: str) -> datetime:
    match = PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(NO_TIMESTAMP)
    date, time, fraction, offset = match.groups()
    digits = (fraction or ".0")[1:7].ljust(6, "0")
    offset = "+00:00" if offset in (None, "Z", "z") else offset
    try:
        moment = cut(datetime.fromisoformat(f"{date}T{time}.{digits}{offset}").astimezone(UTC))
    except (ValueError, OverflowError):
        # The offset may carry it beyond the range of a datetime, so our own range is tested afterwards (trap 7).
        raise ValueError("There is no such moment between the years 2000 and 2100.") from None
    if not EARLIEST <= moment < LATEST:
        raise ValueError("Not between 2000-01-01 and 2100-01-01.")
    return moment


class TimestampField(fields.Field[datetime]):
    """A marshmallow field for `parse_timestamp`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        try:
            return parse_timestamp(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else to_wire(value)


class NameField(fields.String):
    """A marshmallow field for a required name of 1 to 255 characters, in NFC afterwards; `checks` ask more of it."""

    def __init__(self, *checks: Callable[[str], Any], **options: Any) -> None:
        super().__init__(required=True, validate=[validate.Length(1, NAME_LENGTH), *checks], **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return nfc(super()._deserialize(value, attr, data, **kwargs))


def is_same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal as JSON. Python alone says `True == 1`, also deep inside (trap 29).

    Texts are compared in NFC, because two that differ only in their form look the same to everybody.
    """
    if left is right:
        return True
    if isinstance(left, str) and isinstance(right, str):
        return left == right or (not (left.isascii() and right.isascii()) and nfc(left) == nfc(right))
    if isinstance(left, bool) or isinstance(right, bool):
        return False  # the two booleans are singletons: they would have been identical
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(is_same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(is_same, left, right))
    return bool(left == right)
