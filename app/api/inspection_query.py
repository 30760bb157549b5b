"""The query of `GET /inspections` (contract, section 8)."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, validate

from app.administration.fields import IdField, QueryText
from app.api.paging import PageSchema
from app.core.values import MAX_INTEGER, Values
from app.models import STATUSES


class AssigneeField(IdField):
    """A user's id, or `none`, which becomes None: inspections that nobody is assigned to."""

    def _deserialize(self, value: object, attr: str | None, data: Values | None, **kwargs: object) -> Any:
        return None if value == "none" else super()._deserialize(value, attr, data, **kwargs)


def _check_assignee(value: int | None) -> None:
    if value is not None and not 1 <= value <= MAX_INTEGER:
        raise ValidationError("Must be a user's id, or none.")


class InspectionQuerySchema(PageSchema):
    """The query parameters of `GET /inspections`."""

    status = fields.String(validate=validate.OneOf(STATUSES))
    assignee_id = AssigneeField(
        validate=_check_assignee,
        metadata={
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": MAX_INTEGER,
            "pattern": "^none$",
            "description": "A user's id, or `none`.",
        },
    )
    #: A part of the notes, job, property name, address or customer name, in upper or lower case.
    q = QueryText(validate=validate.Length(max=255))
