"""*New inspection*: the form of `POST /inspections`, by the same schema and the same function."""

from __future__ import annotations

from typing import Any

from flask import Response, flash, redirect, request, url_for
from marshmallow import ValidationError
from werkzeug.wrappers import Response as BaseResponse

from app.administration import NewInspectionSchema, create_inspection, require_admin
from app.clock import now
from app.errors import InvalidError
from app.pages import gettext as _
from app.pages import render
from app.web import origin_of_request, signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.forms import faults_by_field, values_by_path
from fieldpost_console.pages.inspections import choices_of


@blueprint.get("/inspections/new")
def new_inspection() -> Response:
    """The empty form; what stands in the address is filled in."""
    return _form({"date": now().date().isoformat(), **request.args}, request.args.getlist("form_template_ids"), {})


@blueprint.post("/inspections/new")
def add_inspection() -> BaseResponse:
    """Create the inspection, with one form for each template."""
    sent, templates = dict(request.form), request.form.getlist("form_template_ids")
    try:
        values = NewInspectionSchema().load({**_given(), "form_template_ids": templates})
        create_inspection(origin_of_request("page"), _without_templates(values), values["form_template_ids"])
    except ValidationError as error:
        return _form(sent, templates, faults_by_field(error.messages_dict), 422)
    except InvalidError as error:
        return _form(sent, templates, faults_by_field(error.extra["details"]), 422)
    flash(_("The inspection is created."))
    return redirect(url_for("console.inspections"), 303)


def _given() -> dict[str, Any]:
    """What was filled in: an empty field was left out."""
    fields = NewInspectionSchema().fields
    names = {name.partition(".")[0] for name in request.form} & set(fields) - {"form_template_ids"}
    filled = {name: value for name, value in request.form.items() if name.partition(".")[0] in names and value.strip()}
    return values_by_path(filled)


def _without_templates(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "form_template_ids"}


def _form(given: dict[str, str], templates: list[str], faults: dict[str, Any], status: int = 200) -> Response:
    require_admin(signed_in_user())
    choices = choices_of(signed_in_user())
    return render("console/new_inspection.html", status, given=given, chosen=templates, faults=faults, **choices)
