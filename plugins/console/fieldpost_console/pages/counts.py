"""The numbers in the menu: how many conflicts, and how many items altogether, wait for a decision."""

from __future__ import annotations

from typing import Any

from flask import Response

from app.administration.set_aside import count_open
from app.web import answer_if_changed, signed_in_user
from fieldpost_console.pages.blueprint import blueprint

#: The menu counts no further.
MOST = 99


@blueprint.get("/counts")
def counts() -> Response:
    """The numbers for the script that renews them; 304 while they are the same."""
    return answer_if_changed(menu_counts(signed_in_user()))


def menu_counts(user: Any) -> dict[str, str]:
    """Endpoint -> what stands beside its menu entry."""
    items, conflicts = count_open(user, most=MOST + 1)
    return {"console.conflicts": _told(conflicts), "console.set_aside": _told(items)}


def _told(number: int) -> str:
    """A number that was counted up to `MOST` and one; empty: there is nothing to do."""
    return f"{MOST}+" if number > MOST else str(number or "")
