"""*Conflicts*: what a device and somebody else have both changed, and the decision, field by field."""

from __future__ import annotations

from typing import Any

from flask import Response, flash, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.administration import label_of_type
from app.administration.set_aside import Filters, count_open, list_set_aside, neighbours, place_fields
from app.pages import gettext as _
from app.pages import render
from app.web import signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.set_aside import MOST_COUNTED, around, discard, told
from fieldpost_console.pages.typed import read_typed
from fieldpost_console.pages.undecided import (
    Line,
    Refusal,
    Subject,
    decide_here,
    lines_of,
    require_kept,
    subject_of,
    typed_again,
    typed_of,
)

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
        open=told(count_open(user, "conflict", most=MOST_COUNTED + 1)),
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
    if request.form.get("decision") == "discard":
        return discard(key, "console.conflicts") or _page_again(
            key, Refusal("invalid", "", "", {"reason": [_("Say why, because its sender reads it.")]})
        )
    subject = subject_of(key)
    require_kept(subject)
    changes, faults = _read_choices(lines_of(subject))
    if faults:
        return _page_again(key, Refusal("invalid", "", "", faults))
    placed = place_fields(subject.item, changes)
    refusal = decide_here(key, "change", placed) if placed else decide_here(key, "apply")
    if refusal is not None:
        return _page_again(key, refusal)
    flash(_("The conflict is decided. The device is told at its next sync."))
    return redirect(url_for("console.conflicts"), 303)


def _read_choices(lines: list[Line]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The values that are not the device's, and the faults of the fields for which none can be read."""
    changes: dict[str, Any] = {}
    faults: dict[str, list[str]] = {}
    for line in lines:
        choice, name = request.form.get(line.choice_name, ""), line.label.name
        if choice == "server" and line.present is not None:
            changes[name] = line.present.value
        elif choice == "own" and line.input is not None:
            try:
                changes[name] = read_typed(typed_of(line) or "", line.sent.value, line.label)
            except ValueError as error:
                faults[name] = [str(error)]
        elif choice != "device":
            faults[name] = [_("Choose a value.")]
    return changes, faults


def _page_again(key: str, refusal: Refusal) -> Response:
    """The page as things are now, with the choices, and why nothing was done."""
    subject = subject_of(key)
    return _page(subject, typed_again(lines_of(subject), refusal.faults), refusal)


def _page(subject: Subject, lines: list[Line], refusal: Refusal | None = None) -> Response:
    newer, older = neighbours(signed_in_user(), OPEN_CONFLICTS, subject.item)
    return render(
        "console/conflict.html",
        refusal.status if refusal else 200,
        subject=subject,
        lines=lines,
        refusal=refusal,
        faults=refusal.faults if refusal else {},
        labels={line.label.name: line.label.label for line in lines},
        newer=newer,
        older=older,
        reason=request.form.get("reason", ""),
        why=request.form.get("why", ""),
        say=_,
    )
