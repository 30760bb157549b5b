"""Deciding many items of *Set aside* at once: those chosen in the list, or all that match its filters."""

from __future__ import annotations

from typing import Any

from flask import Response, flash, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.administration import label_of_type
from app.administration.set_aside import (
    MOST_AT_ONCE,
    Decision,
    Filters,
    decidable_keys,
    decide_many,
    keys_of,
    list_set_aside,
)
from app.errors import ConflictError
from app.pages import gettext as _
from app.pages import render
from app.web import signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.deciding import Faults, given_reason, no_reason
from fieldpost_console.pages.forms import read_number
from fieldpost_console.pages.set_aside import PER_PAGE, around
from fieldpost_console.pages.set_aside_filters import given_filters, require_filters

#: What the address of the question has beside the filters.
OTHERS = ("decision", "scope", "ids")


@blueprint.get("/set-aside/decide")
def confirm_decisions() -> Response:
    """Asks once more, with the number, before many items are applied or discarded."""
    return _question()


@blueprint.post("/set-aside/decide")
def choose_decisions() -> BaseResponse:
    """Lead to the question about the chosen items, or about all that match."""
    scope, ids = request.form.get("scope", ""), request.form.getlist("ids")[:PER_PAGE]
    if scope != "all" and not any(ids):
        flash(_("Choose items first. Nothing was decided."))
        return redirect(url_for("console.set_aside", **_filters()), 303)
    values = {"scope": "all"} if scope == "all" else {"scope": "chosen", "ids": ids}
    decision = request.form.get("decision", "")
    return redirect(url_for("console.confirm_decisions", **_filters(), **values, decision=decision), 303)


@blueprint.post("/set-aside/decide/confirmed")
def make_decisions() -> Response:
    """Decide the items, if there are as many as the person has confirmed, and show a result for each."""
    kind, reason = _kind(), given_reason()
    if kind == "discard" and reason is None:
        return _question(no_reason(), 422)
    try:
        keys = keys_of(signed_in_user(), _wanted(), read_number(request.form.get("count", "")) or 0)
    except ConflictError:
        return _question(status=409)
    return _results(keys, Decision(kind=kind, reason=reason)) if kind and keys else _question()


def _results(keys: list[str], decision: Decision) -> Response:
    user = signed_in_user()
    results = decide_many(user, keys, decision)
    rows = list_set_aside(user, Filters(ids=keys, state=None), per_page=len(keys))["set_aside"]
    return render(
        "console/decided.html",
        decision=decision.kind,
        # What needs a further look stands first.
        results=sorted(results, key=lambda result: result["result"] == "decided"),
        decided=sum(result["result"] == "decided" for result in results),
        items={row["id"]: row for row in rows},
        what=label_of_type,
        back=url_for("console.set_aside", **_filters()),
        **around(rows),
    )


def _question(faults: Faults | None = None, status: int = 200) -> Response:
    count = len(decidable_keys(signed_in_user(), _wanted(), most=MOST_AT_ONCE + 1))
    values: dict[str, Any] = {**_filters(), "scope": request.args.get("scope"), "ids": request.args.getlist("ids")}
    return render(
        "console/decide.html",
        status,
        decision=_kind(),
        count=count,
        most=MOST_AT_ONCE,
        has_changed=status == 409,
        reason=request.form.get("reason", ""),
        faults=faults or {},
        back=url_for("console.set_aside", **_filters()),
        action=url_for("console.make_decisions", **values, decision=_kind()),
    )


def _kind() -> str:
    """The decision that the address names; empty: none that can be made about many items."""
    decision = request.args.get("decision", "")
    return decision if decision in ("apply", "discard") else ""


def _wanted() -> Filters:
    """The items of the address. Raises `InvalidError`."""
    filters = require_filters(OTHERS)
    if request.args.get("scope") == "all":
        return filters
    return Filters(ids=[key.replace("\0", "") for key in request.args.getlist("ids")[:PER_PAGE]])


def _filters() -> dict[str, Any]:
    return {**given_filters()}
