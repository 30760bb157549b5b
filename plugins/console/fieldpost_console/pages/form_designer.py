"""*New template*, and *new version* of an older one: a designer that works without script.

All buttons send one form. Each shows the page again with everything that was typed; only *Save* stores it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, flash, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.administration import FIELD_TYPES, add_template, read_template, require_admin
from app.errors import InvalidError
from app.models import FormTemplate
from app.pages import gettext, render
from app.web import origin_of_request, signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.form_drafts import PARTS, Draft, apply, drafts_of, read_drafts, structure_of
from fieldpost_console.pages.form_preview import preview_of
from fieldpost_console.pages.form_templates import template_with

#: The most fields on one page. Larger forms are written as JSON.
MOST_FIELDS = 200

#: Messages by the ids of the page's fields.
Faults = Mapping[str, Sequence[str]]


@blueprint.get("/form-templates/new")
def new_form_template() -> Response:
    """The designer with one empty field."""
    require_admin(signed_in_user())
    return _page(None, "", [Draft()])


@blueprint.post("/form-templates/new")
def design_form_template() -> BaseResponse:
    """Do what one of the designer's buttons says."""
    require_admin(signed_in_user())
    return _acted(None)


@blueprint.get("/form-templates/<row_id:template_id>/new-version")
def new_form_version(template_id: int) -> BaseResponse:
    """The designer with the fields of an older version; a large one is shown as JSON."""
    require_admin(signed_in_user())
    older = template_with(template_id)
    if len(older.form_structure) > MOST_FIELDS:
        return redirect(url_for("console.new_form_json", older=template_id), 303)
    return _page(older, older.name, drafts_of(older.form_structure))


@blueprint.post("/form-templates/<row_id:template_id>/new-version")
def design_form_version(template_id: int) -> BaseResponse:
    """Do what one of the designer's buttons says. The older version stays as it is."""
    require_admin(signed_in_user())
    return _acted(template_with(template_id))


def _acted(older: FormTemplate | None) -> BaseResponse:
    name, do = request.form.get("name", ""), request.form.get("do", "")
    drafts = read_drafts(request.form, MOST_FIELDS)
    if do == "save":
        return _saved(older, name, drafts)
    if do == "add" and len(drafts) == MOST_FIELDS:
        fault = gettext("The designer takes no more fields. Write larger forms as JSON.")
        return _page(older, name, drafts, {"form_structure": [fault]}, status=422)
    drafts, focus = apply(drafts, do)
    return _page(older, name, drafts, focus=focus)


def _saved(older: FormTemplate | None, name: str, drafts: Sequence[Draft]) -> BaseResponse:
    structure = structure_of(drafts, _structure(older))
    try:
        values = read_template({"name": name, "form_structure": structure})
    except InvalidError as error:
        return _page(older, name, drafts, _faults(error.extra["details"], structure), status=422)
    created = add_template(origin_of_request("page"), values)
    flash(gettext("The form template is saved. New inspections can have it from now on."))
    return redirect(url_for("console.form_template", template_id=created.id), 303)


def _structure(older: FormTemplate | None) -> list[dict[str, Any]]:
    return [] if older is None else older.form_structure


def _faults(details: Mapping[str, Any], structure: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The schema's messages by the ids of the page's fields. One about all fields leads to a repeated name."""
    faults: dict[str, list[str]] = {}
    of_fields = details.get("form_structure", {})
    if not isinstance(of_fields, Mapping):
        of_fields = {"": of_fields}
    for place, parts in of_fields.items():
        if isinstance(place, int):
            faults |= {f"field-{place}-{part}": _texts(messages) for part, messages in parts.items()}
        else:
            faults.setdefault(_repeated(structure), []).extend(_texts(parts))
    return {key: _texts(messages) for key, messages in details.items() if key != "form_structure"} | faults


def _texts(messages: Any) -> list[str]:
    """Messages, also those of a list's elements, which stand under their places."""
    if isinstance(messages, Mapping):
        return [text for inner in messages.values() for text in _texts(inner)]
    return [str(message) for message in messages]


def _repeated(structure: Sequence[Mapping[str, Any]]) -> str:
    """The id of the last field whose name another field has; that of all fields if none is repeated."""
    counts = Counter(field["name"] for field in structure)
    places = [place for place, field in enumerate(structure) if field["name"] and counts[field["name"]] > 1]
    return f"field-{places[-1]}-name" if places else "form_structure"


def _kinds(drafts: Sequence[Draft]) -> list[tuple[str, str]]:
    """The types to choose from, each with its words; those of an app's own stand last, under their names."""
    words = {
        "text": gettext("text"),
        "textarea": gettext("text of several lines"),
        "number": gettext("number"),
        "integer": gettext("whole number"),
        "decimal": gettext("decimal number"),
        "date": gettext("date"),
        "select": gettext("one from a list"),
        "multiselect": gettext("several from a list"),
        "radio": gettext("one of several buttons"),
        "checkbox": gettext("boxes to tick"),
        "boolean": gettext("one box to tick"),
        "yes_no": gettext("yes or no"),
        "photo": gettext("photo"),
        "signature": gettext("signature"),
    }
    types = dict.fromkeys((*FIELD_TYPES, *(draft.type for draft in drafts)))
    return [(type_, words.get(type_, type_)) for type_ in types]


def _labels(count: int) -> dict[str, str]:
    """What the error summary calls the page's fields, by their ids."""
    labels = {"name": gettext("Name"), "form_structure": gettext("Fields")}
    for place in range(count):
        heading = gettext("Field %(number)s", number=place + 1)
        labels |= dict.fromkeys((f"field-{place}-{part}" for part in PARTS), heading)
    return labels


def _page(
    older: FormTemplate | None,
    name: str,
    drafts: Sequence[Draft],
    faults: Faults | None = None,
    *,
    focus: str = "",
    status: int = 200,
) -> Response:
    structure = structure_of(drafts, _structure(older))
    return render(
        "console/form_designer.html",
        status,
        older=older,
        name=name,
        drafts=[(draft, field["name"]) for draft, field in zip(drafts, structure, strict=True)],
        kinds=_kinds(drafts),
        labels=_labels(len(drafts)),
        sections=list(dict.fromkeys(draft.section_name for draft in drafts if draft.section_name)),
        faults=faults or {},
        focus=focus,
        preview=preview_of(structure),
        say=gettext,
    )
