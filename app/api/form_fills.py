"""Form fills: `GET /form_fills/:id`. They are written through sync alone (contract, section 8)."""

from __future__ import annotations

from flask import Response
from sqlalchemy import ColumnElement, select

from app import policies
from app.api.blueprint import RestBlueprint
from app.api.rows import described, loads
from app.errors import NotFoundError
from app.extensions import db
from app.identifiers import MAX_INTEGER, UUID_FORM
from app.models import FormFill, Inspection
from app.web import answer, signed_in_user

blueprint = RestBlueprint("form_fills", __name__, description="The filled forms of inspections")


@blueprint.get("/form_fills/<key>")
def get_form_fill(key: str) -> Response:
    """One form fill with its form structure, by its id or by the client_id that a device made."""
    condition = _named(key)
    found = None if condition is None else db.session.scalar(_statement(condition))
    if found is None:
        raise NotFoundError("FormFill not found")
    return answer({"form_fill": described(found)}, "Form fill retrieved successfully")
