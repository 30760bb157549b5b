"""*Conflicts*: what a device and somebody else have both changed, and the decision, field by field."""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.administration import label_of_type
from app.administration.set_aside import Filters, list_set_aside, neighbours
from app.pages import gettext as _
from app.pages import render
from app.web import signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.conflict_pictures import pictures_of
from fieldpost_console.pages.deciding import Faults, ItemForm, Refusal, decide_by_form, render_item
from fieldpost_console.pages.set_aside import around
from fieldpost_console.pages.typed import read_typed
from fieldpost_console.pages.undecided import Line, Subject, lines_of, subject_of, typed_of

#: The rows of the list.
OPEN_CONFLICTS = Filters(outcome="conflict")


@blueprint.get("/conflicts")
def conflicts() -> Response:
    """The open conflicts, newest first, fifty on a page."""
    user, after = signed_in_user(), request.args.get("after", "")[:255].replace("\0", "")
    page = list_set_aside(user, OPEN_CONFLICTS, after=after or None)
    return render(
        "console/conflicts.html",
        rows=page["set_aside"],
        older=page["next"] and url_for("console.conflicts", after=page["next"]),
        newest=url_for("console.conflicts") if after else None,
        what=label_of_type,
        **around(page["set_aside"]),
    )


@blueprint.get("/conflicts/<key>")
def conflict(key: str) -> Response:
    """One conflict: before, device and server beside each other, and a choice for each field."""
    subject = subject_of(key)
    return _page(subject, lines_of(subject))


@blueprint.post("/conflicts/<key>")
def decide_conflict(key: str) -> BaseResponse:
    """Apply what was chosen for each field, or discard the device's change."""
    done = _("The conflict is decided. The device is told at its next sync.")
    return decide_by_form(key, ItemForm(read=_read_choices, page=_page, back="console.conflicts", done=done))


def _read_choices(lines: list[Line]) -> tuple[dict[str, Any], Faults]:
    """The values that are not the device's, and the faults of the fields for which none can be read."""
    changes: dict[str, Any] = {}
    faults: Faults = {}
    for line in lines:
        choice, name = request.form.get(line.choice_name, ""), line.label.name
        if choice == "server" and line.present is not None:
            changes[name] = line.present.value
        elif choice == "before" and line.can_be_as_before and line.before is not None:
            changes[name] = line.before.value
        elif choice == "own" and (typed := typed_of(line)) is not None:
            try:
                changes[name] = read_typed(typed, line.sent.value, line.label)
            except ValueError as error:
                faults[name] = [str(error)]
        elif choice != "device":
            faults[name] = [_("Choose a value.")]
    return changes, faults


def _page(subject: Subject, lines: list[Line], refusal: Refusal | None = None) -> Response:
    newer, older = neighbours(signed_in_user(), OPEN_CONFLICTS, subject.item)
    pictures = pictures_of(subject)
    return render_item("console/conflict.html", subject, lines, refusal, newer=newer, older=older, pictures=pictures)
