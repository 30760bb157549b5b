"""The query of `GET /inspections` (contract, section 8)."""

from __future__ import annotations

from marshmallow import fields, validate

from app.administration.inspection_list import InspectionListSchema
from app.api.paging import PageSchema
from app.models import STATUSES


class InspectionQuerySchema(InspectionListSchema, PageSchema):
    """The query parameters of `GET /inspections`."""

    class Meta:
        exclude = ("owner_id",)

    status = fields.String(validate=validate.OneOf(STATUSES))
