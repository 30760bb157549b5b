"""Form templates: `POST|GET /form_templates`, `GET /form_templates/:id` (contract, section 8).

They never change, because form fills show their data by them. A new version is a new template.
"""

from __future__ import annotations

from collections.abc import Sequence

from flask import Response
from sqlalchemy import select

from app.administration.form_templates import add_template
from app.administration.schemas import NewFormTemplateSchema
from app.api.blueprint import admins_only
from app.api.paging import PageSchema, read_page
from app.core.database.engine import db
from app.core.values import JsonObject, Values
from app.errors import NotFoundError
from app.models import FormTemplate
from app.models.serialize import serialize
from app.openapi.shapes import FORM_TEMPLATE, obj, page_of
from app.web import RestBlueprint, answer, described, origin_of_request

blueprint = RestBlueprint("form_templates", __name__, description="Which fields a form has")


@blueprint.get("/form_templates")
@described(data=page_of("form_templates", FORM_TEMPLATE))
@blueprint.query(PageSchema)
def list_form_templates(query: Values) -> Response:
    """All form templates, newest first, for everybody signed in: devices create form fills from them."""
    statement = select(FormTemplate).order_by(FormTemplate.id.desc())
    page = read_page(db.session(), statement, query, "form_templates", _serialize_all)
    return answer(page, "Form templates retrieved successfully")


@blueprint.post("/form_templates")
@described(data=obj(form_template=FORM_TEMPLATE), status=201, errors=("forbidden",))
@admins_only
@blueprint.body(NewFormTemplateSchema)
def create_form_template(body: Values) -> Response:
    """A new form template."""
    created = add_template(origin_of_request(), body)
    return answer({"form_template": serialize(created)}, "Form template created successfully", 201)


@blueprint.get("/form_templates/<row_id:form_template_id>")
@described(data=obj(form_template=FORM_TEMPLATE), errors=("not_found",))
def get_form_template(form_template_id: int) -> Response:
    """One form template, for everybody signed in."""
    template = db.session.get(FormTemplate, form_template_id)
    if template is None:
        raise NotFoundError("FormTemplate not found")
    return answer({"form_template": serialize(template)}, "Form template retrieved successfully")


def _serialize_all(templates: Sequence[FormTemplate]) -> list[JsonObject]:
    return [serialize(template) for template in templates]
