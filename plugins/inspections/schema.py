"""The payload of an `inspection` operation, without the core's keys."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from app.models import MADE_FIELDS, OBJECTS, STATUSES, SYNCED_FIELDS

DATE_FORM = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
UUID_FORM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)

#: The most form templates that a new inspection names, and the longest of its shorter texts.
MOST_TEMPLATES = 100
TEXT_LENGTH = 255


class DateField(fields.Date):
    """`YYYY-MM-DD`, from 2000 to 2099."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dt.date:
        if not isinstance(value, str) or DATE_FORM.fullmatch(value) is None:
            raise ValidationError("Not a date such as 2024-03-15.")
        date = super()._deserialize(value, attr, data, **kwargs)
        if not 2000 <= date.year <= 2099:
            raise ValidationError("Not between 2000-01-01 and 2100-01-01.")
        return date


def _text() -> fields.String:
    return fields.String(validate=validate.Length(max=TEXT_LENGTH), allow_none=True)


def _object(name: str) -> fields.Nested:
    return fields.Nested(Schema.from_dict({key: _text() for key in OBJECTS[name]}, name=name.title()), allow_none=True)


class InspectionSchema(Schema):
    """A change takes `status` and `notes`, at least one of them. If one is missing, it stays as it is."""

    #: `make_or_edit` checks it; stated here for the OpenAPI document.
    new_row_requires: ClassVar = ("form_template_ids",)

    #: Refused where an id is sent; stated here for the OpenAPI document.
    only_for_new_rows: ClassVar = (*MADE_FIELDS[len(SYNCED_FIELDS) :], "form_template_ids", "form_fill_client_ids")

    status = fields.String(validate=validate.OneOf(STATUSES))
    notes = fields.String(allow_none=True)
    date = DateField(required=True)
    system_category = _text()
    interval_category = _text()
    job = _text()
    property = _object("property")
    customer = _object("customer")
    #: The client_ids of the form fills, in the order of their templates.
    form_fill_client_ids = fields.List(
        fields.String(validate=validate.Regexp(UUID_FORM, error="Not a valid UUID."), metadata={"format": "uuid"}),
        allow_none=True,
        validate=validate.Length(max=MOST_TEMPLATES),
    )

    @validates_schema
    def check_change(self, payload: Mapping[str, Any], partial: bool | None = None, **_: object) -> None:
        """Refuse a change of nothing, or of anything besides status and notes."""
        if partial and not payload:
            raise ValidationError("Send status or notes.")
        if partial and not payload.keys() <= {*SYNCED_FIELDS}:
            others = sorted(payload.keys() - {*SYNCED_FIELDS})
            raise ValidationError({name: ["A device changes status and notes alone."] for name in others})

    @validates_schema
    def check_form_fills(self, payload: Mapping[str, Any], **_: object) -> None:
        """No two form fills have the same client_id."""
        client_ids = payload.get("form_fill_client_ids") or []
        if len({client_id.lower() for client_id in client_ids}) < len(client_ids):
            raise ValidationError("Each form fill needs a UUID of its own.", "form_fill_client_ids")

    @post_load
    def complete(self, payload: dict[str, Any], **_: object) -> dict[str, Any]:
        """Objects get all of their keys, and client_ids are compared in lower case."""
        for name, keys in OBJECTS.items():
            if payload.get(name) is not None:
                payload[name] = {**dict.fromkeys(keys), **payload[name]}
        if payload.get("form_fill_client_ids"):
            payload["form_fill_client_ids"] = [client_id.lower() for client_id in payload["form_fill_client_ids"]]
        return payload


def fields_to_set(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields that an operation sets: everything that is sent but the form fills of a new inspection."""
    return {name: value for name, value in payload.items() if name in MADE_FIELDS}
