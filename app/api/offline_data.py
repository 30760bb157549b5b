"""`GET /inspections/:id/offline_data`: everything to work on one inspection without a network (contract, section 6)."""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785
from flask import Response
from sqlalchemy.orm import Session

from app import policies
from app.api.fields import NUMBER_FORM
from app.clock import now, to_wire
from app.core.database.engine import db
from app.core.database.transactions import snapshot
from app.core.host.registry import current_registry
from app.core.values import MAX_INTEGER
from app.errors import NotFoundError
from app.feed.cursor import write_cursor
from app.feed.page import start_cursor
from app.models import Attachment, FormFill, Inspection, User
from app.models.entities import entity_of
from app.models.serialize import record_of, select_shown
from app.openapi.shapes import (
    ID_IN_ADDRESS,
    INSPECTION,
    OBJECT,
    OFFLINE_FORM_FILL,
    SHA256,
    TEXT,
    TIME,
    listed,
    obj,
    told,
)
from app.web import RestBlueprint, answer, described, signed_in_user

blueprint = RestBlueprint("offline_data", __name__, description="Packages for devices that go offline")

#: Of the package's shape.
PACKAGE_VERSION = 1


@blueprint.get("/inspections/<key>/offline_data")
@described(
    path={"key": ID_IN_ADDRESS},
    data=obj(
        inspection=INSPECTION,
        form_fills=listed(OFFLINE_FORM_FILL),
        entities=told({"type": "object", "additionalProperties": listed(OBJECT)}, "Plugins' rows, by entity."),
        sync_metadata=obj(
            downloaded_at=TIME,
            version={"type": "integer", "const": PACKAGE_VERSION},
            checksum=told(SHA256, "Of the RFC 8785 canonical JSON of `inspection` and `form_fills`."),
            cursor=told(TEXT, "From here the feed goes on."),
        ),
    ),
    faults=("not_found",),
)
def get_offline_data(key: str) -> Response:
    """The inspection, its form fills with structures and photos, and a cursor from which the feed goes on."""
    # One snapshot for the rows and the cursor, so that package and feed leave no gap.
    with snapshot(db.session()):
        data = _package(db.session(), signed_in_user(), key)
    return answer(data, "Offline data retrieved successfully")


def _package(session: Session, user: User, key: str) -> dict[str, Any]:
    """The answer's data. Raises `NotFoundError`."""
    statement = select_shown(Inspection).where(_named(key), policies.visible(user))
    inspection = session.scalar(statement)
    if inspection is None:
        raise NotFoundError("InspectionNotFound")
    content: Any = {"inspection": record_of(inspection), "form_fills": _form_fills(session, inspection.id)}
    metadata = {
        "downloaded_at": to_wire(now()),
        "version": PACKAGE_VERSION,
        "checksum": hashlib.sha256(rfc8785.dumps(content)).hexdigest(),
        "cursor": write_cursor(start_cursor(session, user)),
    }
    return {**content, "entities": _plugin_rows(session, inspection.id), "sync_metadata": metadata}


def _named(key: str) -> Any:
    """The condition for the id in the address; what is no id matches nothing."""
    number = int(key) if NUMBER_FORM.fullmatch(key) else 0
    return Inspection.id == (number if number <= MAX_INTEGER else 0)


def _form_fills(session: Session, inspection_id: int) -> list[dict[str, Any]]:
    statement = select_shown(FormFill).where(FormFill.inspection_id == inspection_id).order_by(FormFill.id)
    return [
        {**record_of(form_fill), "photos": [record_of(each) for each in form_fill.attachments]}
        for form_fill in session.scalars(statement)
    ]


def _plugin_rows(session: Session, inspection_id: int) -> dict[str, list[dict[str, Any]]]:
    """The rows of plugins' entities, by the entity's name; one query each."""
    found = {}
    for model in current_registry().models.values():
        if model in (Inspection, FormFill, Attachment) or not hasattr(model, "inspection_id"):
            continue
        rows: Any = model
        statement = select_shown(rows).where(rows.inspection_id == inspection_id).order_by(rows.id)
        if hasattr(rows, "deleted_at"):
            statement = statement.where(rows.deleted_at.is_(None))
        found[entity_of(model).name] = [record_of(row) for row in session.scalars(statement)]
    return found
