"""Giving inspections to a technician: those chosen in the list, or all that match its filters."""

from __future__ import annotations

from typing import Any

from flask import Response, flash, redirect, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response as BaseResponse

from app.administration import assign_inspections, require_admin, select_inspections
from app.errors import InvalidError
from app.models import Inspection, User, db
from app.pages import gettext as _
from app.pages import ngettext, render
from app.web import origin_of_request, signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.filters import count_up_to, given_filters, read_filters
from fieldpost_console.pages.forms import read_number

#: Inspections that one confirmation assigns at most; a request that takes longer would be ended.
MOST_AT_ONCE = 5000


@blueprint.get("/inspections/assign")
def confirm_assignment() -> Response:
    """Asks once more, with the number, before all inspections that match are given to somebody."""
    return _confirmation()


@blueprint.post("/inspections/assign")
def assign() -> BaseResponse:
    """Assign the chosen inspections, or lead to the question about all that match."""
    if request.form.get("scope") == "all":
        values = {**_filters(), "technician_id": request.form.get("technician_id", "")}
        return redirect(url_for("console.confirm_assignment", **values), 303)
    ids = [number for text in request.form.getlist("ids") if (number := read_number(text)) is not None]
    if not ids:
        flash(_("Choose inspections first. Nothing was assigned."))
        return _to_list()
    return _assign_these(ids, request.form.get("technician_id", ""))


@blueprint.post("/inspections/assign/all")
def assign_all() -> BaseResponse:
    """Assign all that match, if there are as many as the person has confirmed; otherwise ask again."""
    ids = _matching()
    if str(len(ids)) != request.form.get("count"):
        return _confirmation(has_changed=True)
    return _assign_these(ids, request.args.get("technician_id", ""))


def _assign_these(ids: list[int], technician: str) -> BaseResponse:
    try:
        assignment = assign_inspections(origin_of_request("page"), ids, _technician_id(technician))
    except InvalidError:
        flash(_("Choose an active technician, or nobody. Nothing was assigned."))
        return _to_list()
    if assignment.assigned:
        number = assignment.assigned
        flash(ngettext("%(num)s inspection is assigned.", "%(num)s inspections are assigned.", number))
    if assignment.gone:
        flash(ngettext("%(num)s no longer exists.", "%(num)s no longer exist.", assignment.gone))
    if assignment.error is not None:
        reason = assignment.error.error
        flash(_("%(left)s were not assigned: %(reason)s. Assign them again.", left=assignment.left, reason=reason))
    return _to_list()


def _technician_id(text: str) -> int | None:
    """The id that a form sent; None: nobody. Raises `InvalidError`."""
    if text == "none":
        return None
    number = read_number(text)
    if number is None:
        raise InvalidError()
    return number


def _matching() -> list[int]:
    """The ids of the inspections that match, at most one more than are assigned at once; none if a filter is wrong."""
    filters, faults = read_filters()
    if faults:
        return []
    statement = select_inspections(signed_in_user(), filters).order_by(Inspection.id)
    return list(db.session.scalars(statement.limit(MOST_AT_ONCE + 1)))


def _confirmation(*, has_changed: bool = False) -> Response:
    require_admin(signed_in_user())
    filters, faults = read_filters()
    count = 0 if faults else count_up_to(select_inspections(signed_in_user(), filters), MOST_AT_ONCE)
    return render(
        "console/assign.html",
        409 if has_changed else 200,
        count=count,
        most=MOST_AT_ONCE,
        has_changed=has_changed,
        technician=_name_of(request.args.get("technician_id", "")),
        back=url_for("console.inspections", **_filters()),
        action=url_for("console.assign_all", technician_id=request.args.get("technician_id"), **_filters()),
    )


def _name_of(technician: str) -> str | None:
    """The name of the technician who gets the work; empty: nobody; None: there is no such technician."""
    try:
        technician_id = _technician_id(technician)
    except InvalidError:
        return None
    if technician_id is None:
        return ""
    condition = (User.id == technician_id, User.role == "technician", User.active)
    name: str | None = db.session.scalar(select(User.name).where(*condition))
    return name


def _filters() -> dict[str, Any]:
    return {**given_filters()}


def _to_list() -> BaseResponse:
    return redirect(url_for("console.inspections", **_filters()), 303)
