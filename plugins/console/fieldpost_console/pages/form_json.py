"""A form template whose structure is pasted as JSON, which the same schema reads as that of the designer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import Response, flash, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.administration import add_template, read_structure, read_template, require_admin
from app.errors import InvalidError
from app.pages import gettext, render
from app.web import origin_of_request, signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.form_preview import Preview, preview_of
from fieldpost_console.pages.form_templates import template_with
from fieldpost_console.pages.forms import read_number


@blueprint.get("/form-templates/json")
def new_form_json() -> Response:
    """The form, with the structure of the template `older` if the address names one."""
    require_admin(signed_in_user())
    number = read_number(request.args.get("older", ""))
    if number is None:
        return _page("", "")
    older = template_with(number)
    return _page(older.name, json.dumps(older.form_structure, indent=2, ensure_ascii=False))


@blueprint.post("/form-templates/json")
def add_form_json() -> BaseResponse:
    """Show a preview, or save the template."""
    require_admin(signed_in_user())
    name, text = request.form.get("name", ""), request.form.get("form_structure", "")
    try:
        values = read_template({"name": name, "form_structure": read_structure(text)})
    except InvalidError as error:
        return _page(name, text, _faults(error.extra["details"]), status=422)
    if request.form.get("do") != "save":
        return _page(name, text, preview=preview_of(values["form_structure"]))
    created = add_template(origin_of_request("page"), values)
    flash(gettext("The form template is saved. New inspections can have it from now on."))
    return redirect(url_for("console.form_template", template_id=created.id), 303)


def _faults(details: Mapping[str, Any]) -> dict[str, list[str]]:
    """The schema's messages by the page's two fields, with the place in the structure that each is about."""
    return {name: _lines(messages) for name, messages in details.items()}


def _lines(messages: Any, place: str = "") -> list[str]:
    if isinstance(messages, Mapping):
        return [line for key, inner in messages.items() for line in _lines(inner, f"{place}{key}: ")]
    return [place + str(message) for message in messages]


def _page(
    name: str,
    text: str,
    faults: Mapping[str, list[str]] | None = None,
    *,
    preview: Preview | None = None,
    status: int = 200,
) -> Response:
    values = {"name": name, "text": text, "faults": faults or {}, "preview": preview, "say": gettext}
    return render("console/form_json.html", status, **values)
