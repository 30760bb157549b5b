"""Inspections: `POST|GET /inspections`, `GET|PATCH|DELETE /inspections/:id` (contract, section 8)."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Response
from sqlalchemy import select

from app import policies
from app.administration import inspections as administration
from app.administration.fields import split_version
from app.administration.inspection_list import order_of, select_inspections
from app.administration.inspections import serialize_inspection, serialize_rows
from app.administration.schemas import InspectionChangeSchema, NewInspectionSchema
from app.api.blueprint import admins_only
from app.api.inspection_query import InspectionQuerySchema
from app.api.paging import read_page
from app.core.database.engine import db
from app.core.values import JsonObject, Values
from app.errors import NotFoundError
from app.models import FormFill, Inspection
from app.models.serialize import is_named
from app.openapi.shapes import ID, INSPECTION, INSPECTION_KEY, INSPECTION_WITH_FORM_FILLS, obj, page_of
from app.web import RestBlueprint, answer, described, origin_of_request, signed_in_user

blueprint = RestBlueprint("inspections", __name__, description="Visits to properties")


@blueprint.get("/inspections")
@described(data=page_of("inspections", INSPECTION))
@blueprint.query(InspectionQuerySchema)
def list_inspections(query: Values) -> Response:
    """The inspections that the user may see, newest first unless `sort` says otherwise."""
    statement = select_inspections(signed_in_user(), query).order_by(*order_of(query))
    page = read_page(db.session(), statement, query, "inspections", _serialize_in_order)
    return answer(page, "Inspections retrieved successfully")


@blueprint.post("/inspections")
@described(data=INSPECTION_WITH_FORM_FILLS, status=201, errors=("forbidden",))
@admins_only
@blueprint.body(NewInspectionSchema)
def create_inspection(body: Values) -> Response:
    """A new inspection with one form fill for each template. You own it unless the body names another owner."""
    values = {name: value for name, value in body.items() if name != "form_template_ids"}
    inspection_id, _ = administration.create_inspection(origin_of_request(), values, body["form_template_ids"])
    return answer(_with_form_fills(inspection_id), "Inspection created successfully", 201)


@blueprint.get("/inspections/<row_key:key>")
@described(path={"key": INSPECTION_KEY}, data=INSPECTION_WITH_FORM_FILLS, errors=("not_found",))
def get_inspection(key: int | str) -> Response:
    """One inspection with its form fills, by its id or by the client_id that a device made."""
    return answer(_with_form_fills(visible_inspection(key)), "Inspection retrieved successfully")


def visible_inspection(key: int | str) -> int:
    """The id of the inspection that an address names. Raises `NotFoundError` unless the user may see it."""
    visible = policies.visible(signed_in_user())
    inspection_id: int | None = db.session.scalar(select(Inspection.id).where(is_named(Inspection, key), visible))
    if inspection_id is None:
        raise NotFoundError("Inspection not found")
    return inspection_id


@blueprint.patch("/inspections/<row_key:key>")
@described(path={"key": INSPECTION_KEY}, data=obj(inspection=INSPECTION), errors=("forbidden", "not_found", "stale"))
@admins_only
@blueprint.body(InspectionChangeSchema)
def change_inspection(body: Values, key: int | str) -> Response:
    """Change fields of an inspection. Keys that `property` or `customer` leave out stay as they are."""
    values, version = split_version(body)
    inspection_id = administration.change_inspection(origin_of_request(), key, values, version)
    changed = serialize_inspection(db.session(), inspection_id)
    return answer({"inspection": changed}, "Inspection updated successfully")


@blueprint.delete("/inspections/<row_key:key>")
@described(path={"key": INSPECTION_KEY}, data=obj(id=ID), errors=("forbidden", "not_found"))
@admins_only
def delete_inspection(key: int | str) -> Response:
    """Delete an inspection and everything below it. The bytes of its attachments are kept for their period."""
    inspection_id = administration.delete_inspection(origin_of_request(), key)
    return answer({"id": inspection_id}, "Inspection deleted successfully")


def _serialize_in_order(ids: Sequence[int]) -> list[JsonObject]:
    rows = {row["id"]: row for row in serialize_rows(db.session(), Inspection, ids)}
    return [rows[inspection_id] for inspection_id in ids if inspection_id in rows]


def _with_form_fills(inspection_id: int) -> JsonObject:
    below = select(FormFill.id).where(FormFill.inspection_id == inspection_id)
    return {
        "inspection": serialize_inspection(db.session(), inspection_id),
        "form_fills": serialize_rows(db.session(), FormFill, db.session.scalars(below)),
    }
