"""What a valid `inspection` payload is, the core's keys taken out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from app.models import STATUSES


class InspectionSchema(Schema):
    """`status` and `notes`, at least one of the two; an absent one stays as it is."""

    status = fields.String(validate=validate.OneOf(STATUSES))
    notes = fields.String(allow_none=True)

    @validates_schema
    def check_something_is_sent(self, payload: Mapping[str, Any], **_: Any) -> None:
        """An operation without a change is a mistake of the app's."""
        if not payload:
            raise ValidationError("Send status or notes.")
