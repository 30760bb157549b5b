"""*Correct*: a form made of a row's labels, whose changes go through the pipeline of devices.

The form carries the version that was seen and the values of that version. Only values that the person has changed are
sent. If somebody else was faster, the page comes again with both values, and keeps what was typed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from flask import Response, flash, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.administration import (
    Applied,
    Conflict,
    Form,
    Refused,
    RowName,
    ShownRow,
    ShownValue,
    apply_in_office,
    changes_of,
    form_of,
    may_correct,
    rows_named,
    show_row,
    words,
)
from app.errors import ForbiddenError, NotFoundError
from app.models import Inspection, db
from app.pages import gettext as _
from app.pages import ngettext, render
from app.web import signed_in_user
from fieldpost_console.pages.blueprint import ONE, blueprint
from fieldpost_console.pages.inspection import visible_inspection
from fieldpost_console.pages.typed import PICTURES, SEEN, Field, as_text, flat_faults, read_typed, typed_text


class Target(NamedTuple):
    """The row that is corrected."""

    root: Inspection
    name: RowName
    shown: ShownRow
    form: Form


@blueprint.get(f"{ONE}/rows/<entity>/<key>/correct")
def correct(inspection_id: int, entity: str, key: str) -> Response:
    """The form with the row's present values."""
    target = _target(inspection_id, entity, key)
    fields = [_field(value, {}) for value in _editable(target)]
    return _page(target, fields, target.shown.version)


@blueprint.post(f"{ONE}/rows/<entity>/<key>/correct")
def send_correction(inspection_id: int, entity: str, key: str) -> BaseResponse:
    """Apply the values that differ from those seen."""
    target = _target(inspection_id, entity, key)
    changes, faults = _read_changes(target)
    version = request.form.get("version", "")
    if faults:
        return _page(target, _as_typed(target, faults), version, 422, faults=faults)
    if not changes:
        flash(_("Nothing was changed."))
        return _back(target)
    payload = target.form.payload(target.shown.row.id, version, changes)
    answer = apply_in_office(signed_in_user(), target.form.handler.type, payload)
    if isinstance(answer, Applied):
        flash(ngettext("%(num)s value was corrected.", "%(num)s values were corrected.", len(changes)))
        return _back(target)
    # The unit of work has left the session; the page shows the row as it is now.
    target = _target(inspection_id, entity, key)
    if isinstance(answer, Conflict):
        return _stale_page(target, answer, changes)
    return _refused_page(target, answer, version)


def _target(inspection_id: int, entity: str, key: str) -> Target:
    """The row in the address. Raises `NotFoundError`, or `ForbiddenError` unless the user may correct it."""
    root = visible_inspection(inspection_id)
    name = RowName(entity[:64], key[:36])
    try:
        row = rows_named(db.session(), root, [name])[name]
    except (KeyError, ValueError):
        raise NotFoundError("There is no such row that you may see") from None
    form = form_of(type(row))
    if form is None or not may_correct(signed_in_user(), form, row):
        raise ForbiddenError(_("You may not correct this"), _("Ask an administrator, or the owner of the inspection."))
    return Target(root, name, show_row(row), form)


def _editable(target: Target) -> list[ShownValue]:
    """The values that people can type and that the type takes."""
    values = target.shown.values
    return [value for value in values if value.label.kind not in PICTURES and target.form.takes(value.label.name)]


def _field(value: ShownValue, faults: Mapping[str, list[str]], **more: Any) -> Field:
    name = value.label.name
    given = {"label": value.label, "seen": value.value, "typed": as_text(value.value, value.label)}
    return Field(**{**given, "faults": faults.get(name, []), **more})


def _read_changes(target: Target) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The values that differ from those seen, and the faults of those that are none."""
    changes: dict[str, Any] = {}
    faults: dict[str, list[str]] = {}
    for value in _editable(target):
        name = value.label.name
        seen = _seen(value)
        typed = typed_text(seen, value.label)
        if typed is None or typed == as_text(seen, value.label):
            continue
        try:
            changes[name] = read_typed(typed, seen, value.label)
        except ValueError as error:
            faults[name] = [str(error)]
    return changes, faults


def _seen(value: ShownValue) -> Any:
    """The value of the version that the form stands on."""
    try:
        return json.loads(request.form[SEEN + value.label.name])
    except (KeyError, ValueError):
        return value.value


def _as_typed(target: Target, faults: Mapping[str, list[str]]) -> list[Field]:
    """The fields with what was typed, on the version that was seen."""
    return [_field(value, faults, seen=_seen(value), typed=_kept(value)) for value in _editable(target)]


def _kept(value: ShownValue) -> str:
    typed = typed_text(_seen(value), value.label)
    return as_text(value.value, value.label) if typed is None else typed


def _refused_page(target: Target, answer: Refused, version: str) -> Response:
    """The form with what was typed, and the reasons of the refusal at the fields that they name."""
    if answer.code == "forbidden":
        raise ForbiddenError(answer.error, answer.message)
    names = {value.label.name for value in _editable(target)}
    faults: dict[str, list[str]] = {}
    for name, messages in flat_faults(answer.details):
        faults.setdefault(name if name in names else "", []).extend(messages)
    if not faults:
        faults[""] = [f"{answer.error}. {answer.message}"]
    return _page(target, _as_typed(target, faults), version, 422, faults=faults)


def _stale_page(target: Target, answer: Conflict, changes: Mapping[str, Any]) -> Response:
    """The form on the present version: what was typed is kept, with both values beside it where both have changed."""
    fields = []
    for value in _editable(target):
        name, seen = value.label.name, _seen(value)
        if name not in changes:
            fields.append(_field(value, {}))
            continue
        beside: dict[str, Any] = {}
        if as_text(seen, value.label) != as_text(value.value, value.label):
            beside = {
                "before": words(seen, value.label) if seen is not None else "–",
                "present": words(value.value, value.label) if value.value is not None else "–",
            }
        if isinstance(seen, list | dict) != isinstance(value.value, list | dict):
            # What was typed is JSON for the one and a text for the other: it stays what it was.
            beside["seen"] = seen
        fields.append(_field(value, {}, typed=_kept(value), **beside))
    newest = changes_of(db.session(), target.root.id, target.name, most=1).changes
    return _page(target, fields, answer.version, 409, is_stale=True, newest=newest[0] if newest else None)


def _page(target: Target, fields: list[Field], version: str, status: int = 200, **values: Any) -> Response:
    sections: list[tuple[str, list[Field]]] = []
    for field in fields:
        if not sections or sections[-1][0] != field.label.section:
            sections.append((field.label.section, []))
        sections[-1][1].append(field)
    common: dict[str, Any] = {"faults": {}, "newest": None, "is_stale": False}
    return render(
        "console/correction.html",
        status,
        inspection=target.root,
        shown=target.shown,
        name=target.name,
        sections=sections,
        version=version,
        # `_` of templates takes what it is given for markup of ours; labels are anybody's text.
        say=_,
        # A field's name may be any text, and an id in a page has no spaces.
        ids={field.label.name: f"field-{place}" for place, field in enumerate(fields)},
        labels={field.label.name: field.label.label for field in fields},
        **{**common, **values},
    )


def _back(target: Target) -> BaseResponse:
    anchor = f"row-{target.name.entity}-{target.name.entity_id}"
    return redirect(url_for("console.inspection", inspection_id=target.root.id, _anchor=anchor), 303)
