"""Inspections: `POST|GET /inspections`, `GET|PATCH|DELETE /inspections/:id` (contract, section 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response
from sqlalchemy import ColumnElement, or_, select

from app import policies
from app.api.administration import inspections as administration
from app.api.administration.inspections import describe_inspection, describe_rows, models_below
from app.api.blueprint import admins_only
from app.api.fields import split_version
from app.api.inspection_schemas import InspectionChangeSchema, InspectionQuerySchema, NewInspectionSchema
from app.api.paging import read_page
from app.core.database.engine import db
from app.core.host.registry import current_registry
from app.errors import NotFoundError
from app.models import FormFill, Inspection
from app.openapi.shapes import ID, INSPECTION, INSPECTION_WITH_FORM_FILLS, obj, page_of
from app.web import RestBlueprint, answer, described, origin_of_request, signed_in_user

blueprint = RestBlueprint("inspections", __name__, description="Visits to properties")


@blueprint.get("/inspections")
@described(data=page_of("inspections", INSPECTION))
@blueprint.query(InspectionQuerySchema)
def list_inspections(query: Mapping[str, Any]) -> Response:
    """The inspections that the user may see, newest first."""
    visible = policies.visible(signed_in_user())
    statement = select(Inspection.id).where(visible, *_filters(query)).order_by(Inspection.id.desc())
    found = read_page(db.session(), statement, query, "inspections", _describe_newest_first)
    return answer(found, "Inspections retrieved successfully")


@blueprint.post("/inspections")
@described(data=INSPECTION_WITH_FORM_FILLS, status=201, faults=("forbidden",))
@admins_only
@blueprint.body(NewInspectionSchema)
def create_inspection(body: Mapping[str, Any]) -> Response:
    """A new inspection with one form fill for each of its templates; owned by its maker unless said otherwise."""
    values = {name: value for name, value in body.items() if name != "form_template_ids"}
    inspection_id, _ = administration.create_inspection(origin_of_request(), values, body["form_template_ids"])
    return answer(_describe_with_form_fills(inspection_id), "Inspection created successfully", 201)


@blueprint.get("/inspections/<row_id:inspection_id>")
@described(data=INSPECTION_WITH_FORM_FILLS, faults=("not_found",))
def get_inspection(inspection_id: int) -> Response:
    """One inspection with its form fills."""
    visible = policies.visible(signed_in_user())
    found = db.session.scalar(select(Inspection.id).where(Inspection.id == inspection_id, visible))
    if found is None:
        raise NotFoundError("Inspection not found")
    return answer(_describe_with_form_fills(found), "Inspection retrieved successfully")


@blueprint.patch("/inspections/<row_id:inspection_id>")
@described(data=obj(inspection=INSPECTION), faults=("forbidden", "not_found", "stale"))
@admins_only
@blueprint.body(InspectionChangeSchema)
def change_inspection(body: Mapping[str, Any], inspection_id: int) -> Response:
    """Change fields of an inspection. Keys that `property` or `customer` leave out stay as they are."""
    values, version = split_version(body)
    administration.change_inspection(origin_of_request(), inspection_id, values, version)
    changed = describe_inspection(db.session(), inspection_id)
    return answer({"inspection": changed}, "Inspection updated successfully")


@blueprint.delete("/inspections/<row_id:inspection_id>")
@described(data=obj(id=ID), faults=("forbidden", "not_found"))
@admins_only
def delete_inspection(inspection_id: int) -> Response:
    """Delete an inspection and everything below it. The bytes of its attachments are kept for their period."""
    plugin_models = models_below(current_registry().models.values())
    administration.delete_inspection(origin_of_request(), inspection_id, plugin_models)
    return answer({"id": inspection_id}, "Inspection deleted successfully")


def _describe_newest_first(ids: Sequence[int]) -> list[dict[str, Any]]:
    return describe_rows(db.session(), Inspection, ids)[::-1]


def _describe_with_form_fills(inspection_id: int) -> dict[str, Any]:
    below = select(FormFill.id).where(FormFill.inspection_id == inspection_id)
    return {
        "inspection": describe_inspection(db.session(), inspection_id),
        "form_fills": describe_rows(db.session(), FormFill, db.session.scalars(below)),
    }


def _filters(query: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """The conditions that `status`, `assignee_id` and `q` stand for."""
    conditions: list[ColumnElement[bool]] = []
    if "status" in query:
        conditions.append(Inspection.status == query["status"])
    if "assignee_id" in query:
        # `none` was read as None, which compares as IS NULL.
        conditions.append(Inspection.assignee_id == query["assignee_id"])
    if query.get("q"):
        searched: tuple[Any, ...] = (
            Inspection.notes,
            Inspection.job,
            Inspection.property["property_name"].as_string(),
            Inspection.property["address"].as_string(),
            Inspection.customer["name"].as_string(),
        )
        conditions.append(or_(*(each.icontains(query["q"], autoescape=True) for each in searched)))
    return conditions
