"""The query of `GET /inspections` (contract, section 8)."""

from __future__ import annotations

from app.administration.inspection_list import InspectionListSchema
from app.api.paging import PageSchema


class InspectionQuerySchema(InspectionListSchema, PageSchema):
    """The query parameters of `GET /inspections`."""

    class Meta:
        exclude = ("owner_id",)
