"""`GET /inspections/:id/offline_data`: everything that offline work on an inspection needs (contract, section 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import orjson
from flask import Response
from sqlalchemy.orm import Session

from app import policies
from app.administration.inspections import models_below
from app.api.canonical import canonical_json, canonical_object
from app.clock import now, to_wire
from app.core.database.engine import db
from app.core.database.transactions import snapshot
from app.core.host.registry import current_registry
from app.core.values import JsonObject
from app.errors import NotFoundError
from app.feed.cursor import write_cursor
from app.feed.position import start_cursor
from app.models import FormFill, Inspection, User
from app.models.entities import entity_of
from app.models.serialize import encode, name_column, serialize, undeleted
from app.models.shown import rows_with
from app.openapi.shapes import (
    INSPECTION,
    INSPECTION_KEY,
    OBJECT,
    OFFLINE_FORM_FILL,
    SHA256,
    TEXT,
    TIME,
    array_of,
    obj,
    with_description,
)
from app.web import RestBlueprint, answer, described, signed_in_user

blueprint = RestBlueprint("offline_data", __name__, description="Packages for devices that go offline")

#: The version of the package's shape.
PACKAGE_VERSION = 1


@blueprint.get("/inspections/<row_key:key>/offline_data")
@described(
    path={"key": INSPECTION_KEY},
    data=obj(
        inspection=INSPECTION,
        form_fills=array_of(OFFLINE_FORM_FILL),
        entities=with_description(
            {"type": "object", "additionalProperties": array_of(OBJECT)}, "Plugins' rows, by entity."
        ),
        sync_metadata=obj(
            downloaded_at=TIME,
            version={"type": "integer", "const": PACKAGE_VERSION},
            checksum=with_description(SHA256, "Of the RFC 8785 canonical JSON of `inspection` and `form_fills`."),
            cursor=with_description(TEXT, "From here the feed goes on."),
        ),
    ),
    errors=("not_found",),
)
def get_offline_data(key: int | str) -> Response:
    """The inspection, its form fills with structures and photos, and a cursor from which the feed goes on."""
    # One snapshot for the rows and the cursor, so that package and feed leave no gap.
    with snapshot(db.session()):
        data = _package(db.session(), signed_in_user(), key)
    return answer(data, "Offline data retrieved successfully")


def _package(session: Session, user: User, key: int | str) -> JsonObject:
    """The answer's data. Raises `NotFoundError`."""
    visible, name = policies.visible_to(user.role), name_column(Inspection, key)
    rows = rows_with(session, Inspection, name, key, visible, parameters={policies.USER_ID.key: user.id})
    if not rows:
        raise NotFoundError("InspectionNotFound")
    (inspection,) = rows
    form_fills = b"[" + b",".join(_form_fills(session, inspection.id)) + b"]"
    # The text that the checksum is taken of is made once, and sent as it is.
    content = {"inspection": canonical_json(serialize(inspection)), "form_fills": form_fills}
    metadata = {
        "downloaded_at": to_wire(now()),
        "version": PACKAGE_VERSION,
        "checksum": hashlib.sha256(canonical_object({}, content)).hexdigest(),
        "cursor": write_cursor(start_cursor(session, user)),
    }
    shown = {name: orjson.Fragment(part) for name, part in content.items()}
    return {**shown, "entities": _plugin_rows(session, inspection.id), "sync_metadata": metadata}


def _form_fills(session: Session, inspection_id: int) -> Iterator[bytes]:
    """The canonical JSON of each form fill with its photos; the structure of a template is written once."""
    structures: dict[int, bytes] = {}
    for form_fill in rows_with(session, FormFill, FormFill.inspection_id, inspection_id):
        photos = [serialize(attachment) for attachment in form_fill.attachments]
        record = {**serialize(form_fill), "photos": photos}
        structure, template_id = record.pop("form_structure", None), form_fill.form_template_id
        if template_id not in structures:
            structures[template_id] = canonical_json(structure)
        yield canonical_object(record, {"form_structure": structures[template_id]})


def _plugin_rows(session: Session, inspection_id: int) -> dict[str, list[orjson.Fragment]]:
    """Entity -> the inspection's rows, for plugins' entities; one query each."""
    rows = {}
    for model in models_below(current_registry().models.values()):
        below = rows_with(session, model, model.inspection_id, inspection_id, *undeleted(model))
        rows[entity_of(model).name] = [encode(row) for row in below]
    return rows
