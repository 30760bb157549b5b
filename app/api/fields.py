"""Marshmallow fields that take exactly what the contract says: JSON has its own booleans, numbers and strings.

Also what every PATCH has in common.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema

from app.core.values import EARLIEST, LATEST, MAX_INTEGER, TimestampField
from app.http.body import find_unstorable
from app.openapi.shapes import JsonSchema

DATE_FORM = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

NUMBER_FORM = re.compile(r"[0-9]{1,16}", re.ASCII)


def line(longest: int = 255, **options: Any) -> fields.String:
    """A string of 1 to `longest` characters; what the columns take on every database (trap 10)."""
    return fields.String(validate=validate.Length(1, longest), **options)


def text(longest: int = 255, **options: Any) -> fields.String:
    """A string of at most `longest` characters that may be empty or null."""
    return fields.String(validate=validate.Length(max=longest), allow_none=True, **options)


def row_id(**options: Any) -> fields.Integer:
    """The id of a row, in a body."""
    return fields.Integer(strict=True, validate=validate.Range(1, MAX_INTEGER), **options)


class StrictBoolean(fields.Boolean):
    """`true` or `false`; marshmallow's own also takes 1, "yes" and "on"."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class EmailField(fields.Email):
    """An e-mail address, in lower case as it is stored and compared."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        found = super()._deserialize(value, attr, data, **kwargs)
        return found if found is None else found.strip().lower()


class DateField(fields.Date):
    """`YYYY-MM-DD`, from 2000 to 2099."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> dt.date:
        if not isinstance(value, str) or DATE_FORM.fullmatch(value) is None:
            raise ValidationError("Not a date such as 2024-03-15.")
        try:
            found = dt.date.fromisoformat(value)
        except ValueError:
            raise ValidationError("There is no such day.") from None
        if not EARLIEST.date() <= found < LATEST.date():
            raise ValidationError("Not between 2000-01-01 and 2100-01-01.")
        return found


class QueryNumber(fields.Integer):
    """A whole number in a query string, in digits; Python would also read ` 1_0`."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        if not isinstance(value, str) or NUMBER_FORM.fullmatch(value) is None:
            raise self.make_error("invalid", input=value)
        return int(value)


class QueryText(fields.String):
    """Free text in a query string, which does not come through the gate: NUL would fail in PostgreSQL."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        found = super()._deserialize(value, attr, data, **kwargs)
        fault = find_unstorable(found)
        if fault is not None:
            raise ValidationError(fault)
        return found


class BodySchema(Schema):
    """A body, or an object in it: an unknown key is refused and named. Said here for the OpenAPI document."""

    class Meta:
        unknown = RAISE


class ChangeSchema(BodySchema):
    """The body of a PATCH: at least one field, and the version that the change was made on, where it is known."""

    #: `check_something_is_sent`, for the OpenAPI document.
    json_schema: ClassVar[JsonSchema] = {
        "if": {"required": ["updated_at"]},
        "then": {"minProperties": 2},
        "else": {"minProperties": 1},
    }

    updated_at = TimestampField(allow_none=True)

    @validates_schema
    def check_something_is_sent(self, body: Mapping[str, Any], **_: Any) -> None:
        """A change without a change is a mistake."""
        if not set(body) - {"updated_at"}:
            raise ValidationError("Send at least one field to change.")


def split_version(body: Mapping[str, Any]) -> tuple[dict[str, Any], dt.datetime | None]:
    """What a PATCH sets, and the version that it was made on."""
    return {name: value for name, value in body.items() if name != "updated_at"}, body.get("updated_at")
