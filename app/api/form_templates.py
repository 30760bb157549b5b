"""Form templates: `POST|GET /form_templates`, `GET /form_templates/:id` (contract, section 8).

They never change, because form fills show their data by them. A new version is a new template.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Sized
from functools import partial

from flask import Response
from marshmallow import ValidationError, fields, validate, validates
from sqlalchemy import select

from app.api.administration.form_templates import add_template
from app.api.blueprint import admins_only
from app.api.fields import SEEN, BodySchema, line, text
from app.api.paging import PageSchema, read_page
from app.config import current_settings
from app.core.database.engine import db
from app.core.values import JsonObject, NameField, Values
from app.errors import NotFoundError
from app.models import FormTemplate
from app.models.attachments import KINDS
from app.models.serialize import serialize
from app.openapi.shapes import FORM_TEMPLATE, obj, page_of
from app.web import RestBlueprint, answer, described, origin_of_request

blueprint = RestBlueprint("form_templates", __name__, description="Which fields a form has")

#: The endings of the keys that the server puts into a form fill's data (contract, section 4).
SERVER_SUFFIXES = tuple(f"_{kind}_attachment_id" for kind in KINDS)


def _bound(setting: str, values: Sized) -> None:
    """Raise `ValidationError` unless there are at most as many values as a setting says."""
    limit = getattr(current_settings(), setting)
    if len(values) > limit:
        raise ValidationError(f"There are {len(values)}; at most {limit} are taken.")


class FieldSchema(BodySchema):
    """One field of a form."""

    name = NameField(SEEN)
    type = line(64, required=True)
    label_name = text()
    section_name = text()
    #: The options to choose from. Their shape is agreed between template and app.
    options = fields.List(
        fields.Raw(allow_none=True), allow_none=True, validate=partial(_bound, "max_template_options")
    )

    @validates("name")
    def check_name(self, name: str, data_key: str) -> None:
        """A field must not look like one of the server's keys."""
        if name.endswith(SERVER_SUFFIXES):
            raise ValidationError(f"Must not end in {' or '.join(SERVER_SUFFIXES)}: these keys are the server's.")


class NewFormTemplateSchema(BodySchema):
    """The body of `POST /form_templates`."""

    name = NameField(SEEN)
    form_structure = fields.List(
        fields.Nested(FieldSchema),
        required=True,
        validate=[validate.Length(1), partial(_bound, "max_template_fields")],
    )

    @validates("form_structure")
    def check_names(self, structure: Sequence[Values], data_key: str) -> None:
        """A form fill's data has one value for each name."""
        # marshmallow leaves the invalid keys of a field out.
        counts = Counter(field["name"] for field in structure if "name" in field)
        repeated = sorted(name for name, count in counts.items() if count > 1)
        if repeated:
            raise ValidationError(f"Field names must be unique; repeated: {', '.join(repeated)}.")


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
