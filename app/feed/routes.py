"""`GET /sync/changes` (contract, section 6)."""

from __future__ import annotations

import hashlib
import re

from flask import Blueprint, Response, request

from app.core.database.engine import db
from app.core.database.transactions import snapshot
from app.core.host.registry import current_registry
from app.errors import InvalidError
from app.feed.changes import feed_models, next_page
from app.feed.cursor import read_cursor, write_cursor
from app.feed.page import PageRequest
from app.feed.quiet import look_from
from app.feed.shapes import CHANGES
from app.http.body import read_query
from app.models.entities import entity_of
from app.openapi.shapes import TEXT, with_description
from app.web import answer, described, signed_in_user

#: Rows on a page of the feed: the default and the maximum.
DEFAULT_LIMIT, MAX_LIMIT = 500, 5000
LIMIT_FORM = re.compile(r"[0-9]{1,9}", re.ASCII)

blueprint = Blueprint("feed", __name__)


@blueprint.get("/sync/changes")
@described(
    query={
        "cursor": with_description(
            TEXT, "The cursor of the page before. Without one, or with an empty one, a walk over everything begins."
        ),
        "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        "structures": with_description(
            {"type": "string", "enum": ["0", "1"], "default": "0"},
            "`1`: form fills carry the `form_structure` of their templates, for apps that keep no form templates.",
        ),
    },
    data=CHANGES,
    answer_headers={"ETag": TEXT, "Cache-Control": TEXT},
    headers={"If-None-Match": with_description(TEXT, "The ETag of an earlier answer to the same cursor.")},
    answers={304: {"description": "There is still nothing new"}},
    errors=("cursor_expired",),
)
def changes() -> Response:
    """The rows that the user sees, and their changes since the cursor (contract, section 6)."""
    user, query = signed_in_user(), read_query(request, "cursor", "limit", "structures")
    sent, limit = query.get("cursor"), _read_limit(query.get("limit"))
    has_structures, cursor = _read_structures(query.get("structures")), read_cursor(sent) if sent else None
    wanted = PageRequest(cursor=cursor, limit=limit, has_structures=has_structures)
    models, session = feed_models(list(current_registry().models.values())), db.session()
    names = [entity_of(model).name for model in models]
    with snapshot(session):
        look = None if cursor is None else look_from(session, user, cursor, names)
        if look is not None and cursor is not None and look.is_quiet:
            return _quiet_answer(write_cursor(look.moved(cursor)))
        page = next_page(session, user, models, wanted, look)
    data = {"changes": page.changes, "cursor": write_cursor(page.cursor), "has_more": page.has_more}
    return answer(data, "Changes retrieved successfully")


def _quiet_answer(cursor: str) -> Response:
    """A page without changes. Its ETag covers everything but the time, so that the same look again is a 304."""
    response = answer({"changes": [], "cursor": cursor, "has_more": False}, "Changes retrieved successfully")
    response.set_etag(hashlib.sha256(cursor.encode()).hexdigest()[:32])
    response.headers["Cache-Control"] = "private, no-cache"
    response.make_conditional(request)
    return response


def _read_structures(sent: str | None) -> bool:
    """Whether form fills carry their `form_structure`. Raises `InvalidError`."""
    if sent not in (None, "0", "1"):
        raise InvalidError(extra={"details": {"structures": ["Send 0 or 1."]}})
    return sent == "1"


def _read_limit(sent: str | None) -> int:
    """The number of rows that a page may name. Raises `InvalidError`."""
    if sent is None:
        return DEFAULT_LIMIT
    number = int(sent) if LIMIT_FORM.fullmatch(sent) else 0
    if not 1 <= number <= MAX_LIMIT:
        raise InvalidError(extra={"details": {"limit": [f"Send a whole number from 1 to {MAX_LIMIT}."]}})
    return number
