"""The items of *Set aside* as CSV (RFC 4180), as the list's filters choose them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Response

from app.administration.set_aside import Filters, list_set_aside
from app.models import User, db
from app.web import signed_in_user
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.exports.noted import note_file
from fieldpost_console.pages.exports.pieces import AT_A_TIME, Line
from fieldpost_console.pages.exports.tables import csv_answer
from fieldpost_console.pages.set_aside import around
from fieldpost_console.pages.set_aside_filters import given_filters, require_filters

#: The columns that stand in a row of the list as they are.
PLAIN = (
    "id", "state", "outcome", "code", "error", "message", "type", "device_id", "inspection_id", "times", "first_at",
    "last_at", "decision", "decided_at", "reason",
)  # fmt: skip

HEADING = (*PLAIN, "sender", "device", "property", "decided_by")


@blueprint.get("/exports/set-aside.csv")
def export_set_aside() -> Response:
    """The items that meet the filters, newest first. A filter that means nothing is refused."""
    filters = require_filters()
    note_file("set-aside.csv", given_filters())
    return csv_answer("set-aside", HEADING, _lines(signed_in_user(), filters))


def _lines(user: User, filters: Filters) -> Iterator[Line]:
    after = None
    while True:
        page = list_set_aside(user, filters, after=after, per_page=AT_A_TIME)
        lines = list(_lines_of(page["set_aside"]))
        # The connection goes back before the lines are sent.
        db.session.remove()
        yield from lines
        after = page["next"]
        if after is None:
            return


def _lines_of(rows: list[dict[str, Any]]) -> Iterator[Line]:
    known = around(rows)
    for row in rows:
        sender, decider = row["user"] or {}, row["decided_by"] or {}
        device = (known["devices"].get(sender.get("id")) or {}).get(row["device_id"])
        place = known["places"].get(row["inspection_id"]) or {}
        name = place.get("property_name") or place.get("address")
        yield (*(row[column] for column in PLAIN), sender.get("name"), device, name, decider.get("name"))
