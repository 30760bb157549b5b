"""`GET /sync/changes` (contract, section 6)."""

from __future__ import annotations

import re

from flask import Blueprint, Response, request

from app import policies
from app.core.database.engine import db
from app.core.database.transactions import snapshot
from app.core.host.registry import current_registry
from app.errors import InvalidError
from app.feed.cursor import read_cursor, write_cursor
from app.feed.page import feed_models, read_page
from app.feed.shapes import CHANGES
from app.openapi.shapes import TEXT, told
from app.web import answer, described, signed_in_user

#: Rows on a page of the feed: usually, and at most.
USUAL_LIMIT, MOST_LIMIT = 500, 5000
LIMIT_FORM = re.compile(r"[0-9]{1,9}", re.ASCII)

blueprint = Blueprint("feed", __name__)


@blueprint.get("/sync/changes")
@described(
    query={
        "cursor": told(TEXT, "Of the page before; without one, or with an empty one, a walk over everything begins."),
        "limit": {"type": "integer", "minimum": 1, "maximum": MOST_LIMIT, "default": USUAL_LIMIT},
    },
    data=CHANGES,
    faults=("cursor_expired",),
)
def changes() -> Response:
    """What the user sees and what changed of it since the cursor (contract, section 6)."""
    user = signed_in_user()
    sent, limit = request.args.get("cursor"), _read_limit(request.args.get("limit"))
    cursor, models = read_cursor(sent) if sent else None, feed_models(list(current_registry().models.values()))
    with snapshot(db.session()):
        page = read_page(db.session(), user, policies.visible(user), models, cursor, limit)
    data = {"changes": page.changes, "cursor": write_cursor(page.cursor), "has_more": page.has_more}
    return answer(data, "Changes retrieved successfully")


def _read_limit(sent: str | None) -> int:
    """How many rows a page may name."""
    if sent is None:
        return USUAL_LIMIT
    number = int(sent) if LIMIT_FORM.fullmatch(sent) else 0
    if not 1 <= number <= MOST_LIMIT:
        raise InvalidError(extra={"details": {"limit": [f"Send a whole number from 1 to {MOST_LIMIT}."]}})
    return number
