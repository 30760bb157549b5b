"""The bodies and queries of `/inspections` (contract, section 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from marshmallow import ValidationError, fields, validate, validates

from app.api.fields import BodySchema, ChangeSchema, DateField, IdField, QueryText, row_id, text
from app.api.paging import PageSchema
from app.core.values import MAX_INTEGER, Values
from app.models import OBJECTS, STATUSES

LONGEST_NOTES = 100_000
MOST_TEMPLATES = 100

PropertySchema = BodySchema.from_dict({name: text() for name in OBJECTS["property"]}, name="PropertySchema")
CustomerSchema = BodySchema.from_dict({name: text() for name in OBJECTS["customer"]}, name="CustomerSchema")


class DetailsSchema(BodySchema):
    """The fields that a new inspection and a change have in common."""

    status = fields.String(validate=validate.OneOf(STATUSES))
    owner_id = row_id()
    assignee_id = row_id(allow_none=True)
    notes = text(LONGEST_NOTES)
    system_category = text()
    interval_category = text()
    job = text()
    property = fields.Nested(PropertySchema, allow_none=True)
    customer = fields.Nested(CustomerSchema, allow_none=True)


class NewInspectionSchema(DetailsSchema):
    """The body of `POST /inspections`."""

    date = DateField(required=True)
    form_template_ids = fields.List(row_id(), required=True, validate=validate.Length(1, MOST_TEMPLATES))

    @validates("form_template_ids")
    def check_distinct(self, ids: Sequence[int], data_key: str) -> None:
        """One form fill for each template."""
        if len(set(ids)) < len(ids):
            raise ValidationError("Each form template can be named once.")


class InspectionChangeSchema(DetailsSchema, ChangeSchema):
    """The body of `PATCH /inspections/:id`."""

    date = DateField()


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
