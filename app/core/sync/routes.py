"""`POST /sync`, `GET /sync/types` and `GET /sync/status` (contract, sections 3 and 5)."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import orjson
from flask import Blueprint, Response, current_app, jsonify, request
from sqlalchemy import ColumnElement, ScalarSelect, Select, func, or_, select

from app import policies
from app.clock import now, to_wire
from app.core.database import database_of
from app.core.database.engine import db
from app.core.database.read import Read
from app.core.host.registry import current_registry
from app.core.ledger.record import DEVICE_DOOR
from app.core.sync.attempt import Batch
from app.core.sync.batch import process_batch
from app.core.sync.device_reports import DeviceReportSchema, read_report, report_writes
from app.core.sync.items import read_items
from app.core.sync.shapes import ANSWER, ANSWER_EXAMPLES, REPORTED, TYPES, batch, batch_examples, status_answer
from app.core.sync.type_schemas import sync_type
from app.errors import InvalidError
from app.http.body import read_envelope
from app.models import PENDING_STATUSES, Inspection, User, UserSync
from app.models.entities import entity_of
from app.openapi.shapes import TEXT, with_description
from app.web import answer, described, origin_of_request, signed_in_user, unit_of_work

blueprint = Blueprint("sync", __name__)


@blueprint.post("/sync")
@described(
    body=batch,
    examples=batch_examples,
    answer=ANSWER,
    answer_examples=ANSWER_EXAMPLES,
    errors=("invalid_envelope", "too_many_items"),
)
def push() -> Response:
    """Apply a batch; 200 whenever its envelope could be read, even if every item failed."""
    body, is_suspect = read_envelope(request)
    registry = current_registry()
    items = read_items(body, registry, is_suspect=is_suspect)
    report, faults = read_report(body.get("device"))
    origin = origin_of_request(DEVICE_DOOR)
    sent = Batch(items=items, elements=body["sync_items"], origin=origin, registry=registry, report=report)
    result = process_batch(sent)
    if faults:
        result["device_details"] = faults
    return current_app.response_class(orjson.dumps(result), mimetype="application/json")


@blueprint.post("/sync/device")
@described(body=DeviceReportSchema, answer=REPORTED)
def report_device() -> Response:
    """What the device says of itself, when there is nothing to send."""
    sent, _ = read_envelope(request)
    report, faults = read_report(sent)
    if report is None:
        raise InvalidError(message="Send an object; each of its keys may be left out.")
    writes = list(report_writes(origin_of_request(DEVICE_DOOR), report, now(), is_batch=False))
    unit_of_work(lambda _unit_id: database_of(db.session()).write(db.session.connection(), writes))
    noted = "Report noted" if writes else "Nothing noted: this sign-in named no device"
    return jsonify({"success": True, "message": noted, **({"device_details": faults} if faults else {})})


@blueprint.get("/sync/types")
@described(data=TYPES)
def types() -> Response:
    """The operation types that this server accepts, third-party ones included."""
    registry = current_registry()
    sync_types = [sync_type(registry.handlers[name]) for name in sorted(registry.handlers)]
    return answer({"types": sync_types}, "Types retrieved successfully")


@blueprint.get("/sync/status")
@described(
    answer=status_answer,
    answer_headers={"ETag": TEXT, "Cache-Control": TEXT},
    headers={"If-None-Match": with_description(TEXT, "The ETag of an earlier answer.")},
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


def _status(user: User) -> dict[str, Any]:
    models = tuple(model for model in current_registry().models.values() if entity_of(model).counted is not None)
    query = Read(statement=_counts(user.role, models), parameters={policies.USER_ID.key: user.id})
    session = db.session()
    database_of(session).read(session.connection(), [query])
    last_sync, pending, completed, *counts = query.rows[0]
    return {
        "user_id": user.id,
        "pending_inspections": pending,
        "completed_inspections": completed,
        **{str(entity_of(model).counted): count for model, count in zip(models, counts, strict=True)},
        "last_sync": None if last_sync is None else to_wire(last_sync),
    }


@lru_cache
def _counts(role: str, models: tuple[type, ...]) -> Select[Any]:
    """The user's last sync, pending and completed inspections, and the rows of each of these models."""
    last_sync = select(UserSync.last_sync).where(UserSync.user_id == policies.USER_ID).scalar_subquery()
    pending = or_(*(Inspection.status == status for status in PENDING_STATUSES))
    counts: Select[Any] = select(  # type: ignore[assignment]
        last_sync,
        func.count().filter(pending),
        func.count().filter(Inspection.status == "completed"),
        *(_count(model, policies.visible_to(role)) for model in models),
    )
    return counts.select_from(Inspection).where(policies.visible_to(role))


def _count(model: Any, visible: ColumnElement[bool]) -> ScalarSelect[int]:
    statement = select(func.count()).select_from(model)
    if model is not Inspection:
        statement = statement.join(Inspection, Inspection.id == model.inspection_id)
    if hasattr(model, "deleted_at"):
        statement = statement.where(model.deleted_at.is_(None))
    # By itself it would be about the row of the statement around it.
    return statement.where(visible).correlate(None).scalar_subquery()
