"""The payload of an `inspection` operation, without the core's keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from app.models import STATUSES


class InspectionSchema(Schema):
    """`status` and `notes`, at least one of them. If one is missing, it stays as it is."""

    status = fields.String(validate=validate.OneOf(STATUSES))
    notes = fields.String(allow_none=True)

    @validates_schema
    def check_something_is_sent(self, payload: Mapping[str, Any], **_: object) -> None:
        """Refuse an operation that changes nothing."""
        if not payload:
            raise ValidationError("Send status or notes.")
