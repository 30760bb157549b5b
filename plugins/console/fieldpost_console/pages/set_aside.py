"""*Set aside*: what devices have sent and the server has not applied, by cause, and one item with its decision."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Response, redirect, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response as BaseResponse

from app import policies
from app.administration import among, label_of_type
from app.administration.set_aside import MOST_AT_ONCE, causes, count_decidable, decidable_among, list_set_aside
from app.models import Inspection, db
from app.pages import gettext as _
from app.pages import render
from app.web import signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.deciding import Faults, ItemForm, Refusal, decide_by_form, render_item
from fieldpost_console.pages.people import people
from fieldpost_console.pages.private import private_argument
from fieldpost_console.pages.set_aside_filters import argument, filters_of, given_filters
from fieldpost_console.pages.typed import as_text, flat_faults, read_typed
from fieldpost_console.pages.undecided import Line, Subject, lines_of, names_of_devices, subject_of, typed_of

#: Rows of a page.
PER_PAGE = 50


@blueprint.get("/set-aside")
def set_aside() -> Response:
    """The items that meet the filters: how many of each cause, and fifty of them, newest first."""
    user, given = signed_in_user(), given_filters()
    filters, after = filters_of(given), argument("after") or None
    page = list_set_aside(user, filters, after=after, per_page=PER_PAGE)
    # To find nothing, all rows are read: not three times.
    is_empty = not page["set_aside"] and after is None
    address: dict[str, Any] = {**given}
    older = page["next"] and url_for("console.set_aside", **address, after=page["next"])
    return render(
        "console/set_aside.html",
        rows=page["set_aside"],
        older=older,
        newest=url_for("console.set_aside", **address) if "after" in request.args else None,
        causes=[] if is_empty else causes(user, filters),
        given=given,
        # Which of the page's items, and how many of all, the user may decide.
        decidable=decidable_among(user, page["set_aside"]),
        total=0 if is_empty else count_decidable(user, filters, most=MOST_AT_ONCE),
        most=MOST_AT_ONCE,
        people=people() if policies.is_admin(user) else [],
        what=label_of_type,
        **around(page["set_aside"]),
    )


def around(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The devices' names and the inspections' places that a list shows with these rows; up to two statements."""
    ids = {row["inspection_id"] for row in rows if row["inspection_id"] is not None}
    statement = select(Inspection.id, Inspection.property).where(among(Inspection.id, ids))
    places = db.session.execute(statement) if ids else ()
    return {"devices": names_of_devices(rows), "places": {row.id: row.property or {} for row in places}}


@blueprint.get("/set-aside/<key>")
def set_aside_item(key: str) -> BaseResponse:
    """One item: who sent it, why it was refused, its values, and the decision. A conflict has a page of its own."""
    subject = subject_of(key)
    if subject.item["outcome"] == "conflict":
        return redirect(url_for("console.conflict", key=key, private=private_argument()), 303)
    return _page(subject, lines_of(subject))


@blueprint.post("/set-aside/<key>")
def decide_set_aside(key: str) -> BaseResponse:
    """Apply the item as sent, or with other values; or discard it."""
    done = _("The item is applied. Its device is told at its next sync.")
    return decide_by_form(key, ItemForm(read=_read_changes, page=_page, back="console.set_aside", done=done))


def _read_changes(lines: list[Line]) -> tuple[dict[str, Any], Faults]:
    """The values that differ from those sent, and the faults of those that are none; nothing for *apply as sent*."""
    changes: dict[str, Any] = {}
    faults: Faults = {}
    for line in lines if request.form.get("decision") == "change" else ():
        typed, name = typed_of(line), line.label.name
        if typed is None or typed == as_text(line.sent.value, line.label):
            continue
        try:
            changes[name] = read_typed(typed, line.sent.value, line.label)
        except ValueError as error:
            faults[name] = [str(error)]
    return changes, faults


def _page(subject: Subject, lines: list[Line], refusal: Refusal | None = None) -> Response:
    if subject.item["details"] and not (refusal and refusal.faults):
        lines = _with_details(lines, subject.item["details"])
    return render_item("console/set_aside_item.html", subject, lines, refusal)


def _with_details(lines: list[Line], details: Any) -> list[Line]:
    """The fields with the reasons for which the item was refused when it came in."""
    from_server = dict(flat_faults(details))
    return [replace(line, faults=from_server.get(line.label.name, [])) for line in lines]
