"""Form fills: `GET /form_fills/:id`. They are only written through sync (contract, section 8)."""

from __future__ import annotations

from flask import Response
from sqlalchemy import select

from app import policies
from app.administration.inspections import serialize_rows
from app.core.database.engine import db
from app.errors import NotFoundError
from app.models import FormFill, Inspection
from app.models.serialize import is_named
from app.openapi.shapes import FORM_FILL, FORM_FILL_KEY, obj
from app.web import RestBlueprint, answer, described, signed_in_user

blueprint = RestBlueprint("form_fills", __name__, description="The filled forms of inspections")


@blueprint.get("/form_fills/<row_key:key>")
@described(path={"key": FORM_FILL_KEY}, data=obj(form_fill=FORM_FILL), errors=("not_found",))
def get_form_fill(key: int | str) -> Response:
    """One form fill with its form structure, by its id or by the client_id that a device made."""
    (form_fill,) = serialize_rows(db.session(), FormFill, [visible_form_fill(key)])
    return answer({"form_fill": form_fill}, "Form fill retrieved successfully")


def visible_form_fill(key: int | str) -> int:
    """The id of the form fill that an address names. Raises `NotFoundError` unless the user may see it."""
    statement = (
        select(FormFill.id)
        .join(Inspection, Inspection.id == FormFill.inspection_id)
        .where(is_named(FormFill, key), policies.visible(signed_in_user()))
    )
    form_fill_id: int | None = db.session.scalar(statement)
    if form_fill_id is None:
        raise NotFoundError("FormFill not found")
    return form_fill_id
