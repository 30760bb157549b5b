"""`POST /sync`, `GET /sync/types|status|changes` (contract, sections 3, 5 and 6)."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import orjson
from flask import Blueprint, Response, current_app, jsonify, request
from sqlalchemy import case, func, select

from app import gate, policies
from app.clock import now, to_wire
from app.described.shapes import TEXT, told
from app.errors import InvalidError
from app.extensions import db
from app.ledger import feed
from app.ledger.cursor import read_cursor, write_cursor
from app.models import PENDING_STATUSES, Inspection, User, UserSync
from app.registry import current_registry
from app.sync.describe import describe
from app.sync.envelope import read_items
from app.sync.pipeline import process_batch
from app.sync.shapes import ANSWER, ANSWER_EXAMPLES, CHANGES, TYPES, batch, batch_examples, status_answer
from app.web import answer, described, rest_origin, signed_in_user

#: Rows on a page of the feed: usually, and at most.
USUAL_LIMIT, MOST_LIMIT = 500, 5000
LIMIT_FORM = re.compile(r"[0-9]{1,9}", re.ASCII)

blueprint = Blueprint("sync", __name__)


@blueprint.post("/sync")
@described(
    body=batch,
    examples=batch_examples,
    answer=ANSWER,
    answer_examples=ANSWER_EXAMPLES,
    faults=("invalid_envelope", "too_many_items"),
)
def push() -> Response:
    """Apply a batch; 200 whenever its envelope could be read, even if every item failed."""
    body, is_suspect = gate.read_envelope(request)
    items = read_items(body, is_suspect=is_suspect)
    result = process_batch(items, rest_origin("sync"), current_registry())
    return current_app.response_class(orjson.dumps(result), mimetype="application/json")


@blueprint.get("/sync/types")
@described(data=TYPES)
def types() -> Response:
    """The operation types that this server accepts, third-party ones included."""
    registry = current_registry()
    found = [describe(registry.handlers[name]) for name in sorted(registry.handlers)]
    return answer({"types": found}, "Types retrieved successfully")


@blueprint.get("/sync/status")
@described(
    answer=status_answer,
    answer_headers={"ETag": TEXT, "Cache-Control": TEXT},
    headers={"If-None-Match": told(TEXT, "The ETag of an earlier answer.")},
    answers={304: {"description": "Nothing but the time has changed"}},
)
def status() -> Response:
    """Counts over what the user can see; the ETag covers everything but the time."""
    data = _status(signed_in_user())
    tag = hashlib.sha256(orjson.dumps(data)).hexdigest()[:32]
    data["server_time"] = to_wire(now())
    response = jsonify({"success": True, "data": data, "message": "Sync status retrieved successfully"})
    response.set_etag(tag)
    response.headers["Cache-Control"] = "private, no-cache"
    response.make_conditional(request)
    return response


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
    page = feed.read_page(
        db.session(),
        user,
        policies.visible(user),
        feed.feed_models(list(current_registry().models.values())),
        read_cursor(sent) if sent else None,
        limit,
    )
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


def _status(user: User) -> dict[str, Any]:
    visible = policies.visible(user)
    last_sync = db.session.scalar(select(UserSync.last_sync).where(UserSync.user_id == user.id))
    pending, completed = db.session.execute(
        select(_count_of(PENDING_STATUSES), _count_of(("completed",))).select_from(Inspection).where(visible)
    ).one()
    counts = {"pending_inspections": pending, "completed_inspections": completed}
    for model in current_registry().models.values():
        entity: Any = model.__entity__  # type: ignore[attr-defined]
        if entity.counted is not None:
            counts[entity.counted] = _count(model, visible)
    return {"user_id": user.id, **counts, "last_sync": None if last_sync is None else to_wire(last_sync)}


def _count_of(statuses: tuple[str, ...]) -> Any:
    return func.count(case((Inspection.status.in_(statuses), 1)))


def _count(model: Any, visible: Any) -> int:
    statement = select(func.count()).select_from(model)
    if model is not Inspection:
        statement = statement.join(Inspection, Inspection.id == model.inspection_id)
    if hasattr(model, "deleted_at"):
        statement = statement.where(model.deleted_at.is_(None))
    return db.session.scalar(statement.where(visible)) or 0
