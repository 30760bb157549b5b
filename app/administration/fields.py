"""Marshmallow fields that accept exactly the values in the contract, and the schema that every change inherits; the
places of a list's pages."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema

from app.accounts.emails import normalized_email
from app.clock import to_wire
from app.core.values import EARLIEST, LATEST, MAX_INTEGER, TimestampField, Values, parse_timestamp, read_id
from app.errors import InvalidError
from app.http.body import find_unstorable
from app.openapi.shapes import TEXT_OF_ID, JsonSchema

K = TypeVar("K")

DATE_FORM = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

NUMBER_FORM = re.compile(r"[0-9]{1,16}", re.ASCII)


#: Refuses texts in which no character can be seen: spaces and characters without a width are not enough.
SEEN = validate.Regexp(r"[\s\S]*[^\s\u00ad\u200b-\u200f\u2060-\u2064\ufeff]", error="Nothing of it can be seen.")


def line(longest: int = 255, **options: Any) -> fields.String:
    """A string of 1 to `longest` characters, not all blank, which fits its column on every database (trap 10)."""
    return StorableText(validate=[validate.Length(1, longest), SEEN], **options)


def text(longest: int = 255, **options: Any) -> fields.String:
    """A string of at most `longest` characters that may be empty or null."""
    return StorableText(validate=validate.Length(max=longest), allow_none=True, **options)


class IdField(fields.Integer):
    """The id of a row: a number, or its text."""

    def _deserialize(self, value: object, attr: str | None, data: Values | None, **kwargs: object) -> int:
        try:
            return read_id(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None


def row_id(**options: Any) -> IdField:
    """The id of a row, in a body."""
    metadata = {"description": TEXT_OF_ID}
    return IdField(validate=validate.Range(1, MAX_INTEGER), metadata=metadata, **options)


class StrictBoolean(fields.Boolean):
    """`true` or `false`. marshmallow's own field also accepts 1, "yes" and "on"."""

    def _deserialize(self, value: object, attr: str | None, data: Values | None, **kwargs: object) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class EmailField(fields.Email):
    """An e-mail address, in the one form in which it is stored and compared."""

    def _deserialize(self, value: object, attr: str | None, data: Values | None, **kwargs: object) -> str:
        email: str = super()._deserialize(value, attr, data, **kwargs)
        return normalized_email(email)


class DateField(fields.Date):
    """`YYYY-MM-DD`, from 2000 to 2099."""

    def _deserialize(self, value: object, attr: str | None, data: Values | None, **kwargs: object) -> dt.date:
        if not isinstance(value, str) or DATE_FORM.fullmatch(value) is None:
            raise ValidationError("Not a date such as 2024-03-15.")
        try:
            date = dt.date.fromisoformat(value)
        except ValueError:
            raise ValidationError("There is no such day.") from None
        if not EARLIEST.date() <= date < LATEST.date():
            raise ValidationError("Not between 2000-01-01 and 2100-01-01.")
        return date


class QueryNumber(fields.Integer):
    """A whole number in a query string, in digits only. Python would also accept ` 1_0`."""

    def _deserialize(self, value: object, attr: str | None, data: Values | None, **kwargs: object) -> int:
        if not isinstance(value, str) or NUMBER_FORM.fullmatch(value) is None:
            raise self.make_error("invalid", input=value)
        return int(value)


class StorableText(fields.String):
    """Text in a query string or the form of a page, which the body reader does not see. PostgreSQL refuses NUL."""

    def _deserialize(self, value: object, attr: str | None, data: Values | None, **kwargs: object) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        reason = find_unstorable(text)
        if reason is not None:
            raise ValidationError(reason)
        return text


class BodySchema(Schema):
    """A body, or an object in it. Unknown keys are refused by name, which the OpenAPI document learns from here."""

    class Meta:
        unknown = RAISE


class ChangeSchema(BodySchema):
    """The body of a PATCH: at least one field, and the version that the change is based on, if it is known."""

    #: `check_something_is_sent` as JSON Schema.
    json_schema: ClassVar[JsonSchema] = {
        "if": {"required": ["updated_at"]},
        "then": {"minProperties": 2},
        "else": {"minProperties": 1},
    }

    updated_at = TimestampField(allow_none=True)

    @validates_schema
    def check_something_is_sent(self, body: Values, **_: object) -> None:
        """Refuse a body that changes nothing."""
        if not set(body) - {"updated_at"}:
            raise ValidationError("Send at least one field to change.")


def split_version(body: Values) -> tuple[Values, dt.datetime | None]:
    """The fields that a PATCH sets, and the version that it is based on."""
    return {name: value for name, value in body.items() if name != "updated_at"}, body.get("updated_at")


def write_next(moment: dt.datetime, key: object) -> str:
    """The `next` of a page whose last row has this place: a list in the order of moments, then of keys."""
    return f"{to_wire(moment)}_{key}"


def read_next(after: str, read_key: Callable[[str], K]) -> tuple[dt.datetime, K]:
    """The place that `write_next` has written. Raises `InvalidError` for a text that is none."""
    moment, _, key = after.partition("_")
    try:
        return parse_timestamp(moment), read_key(key)
    except ValueError:
        raise InvalidError(extra={"details": {"after": ["Not the `next` of an earlier page."]}}) from None
