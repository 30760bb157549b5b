"""Devices: `GET /devices`, `DELETE /devices/:id/sign_ins` (contract, section 13)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response

from app.administration.devices import select_devices, serialize_device, sign_out_device
from app.api.paging import PageSchema, read_page
from app.core.database.engine import db
from app.core.values import JsonObject, Values
from app.openapi.shapes import BOOLEAN, COUNT, ID, TEXT, TIME, UUID, Named, nullable, obj, page_of
from app.web import RestBlueprint, answer, described, origin_of_request, signed_in_user

blueprint = RestBlueprint("devices", __name__, description="Devices on which people have signed in")

DEVICE = Named(
    "Device",
    obj(
        id=UUID,
        user_id=ID,
        user_name=TEXT,
        device_id=TEXT,
        **dict.fromkeys(("app", "app_version", "platform", "name", "last_error"), nullable(TEXT)),
        **dict.fromkeys(
            ("waiting_items", "waiting_photos", "waiting_bytes", "set_aside", "storage_used"), nullable(COUNT)
        ),
        persisted=nullable(BOOLEAN),
        clock_offset_ms=nullable({"type": "integer"}),
        **dict.fromkeys(("oldest_waiting_at", "reported_at", "last_batch_at", "last_seen_at"), nullable(TIME)),
        sign_ins=COUNT,
        late=BOOLEAN,
    ),
)


@blueprint.get("/devices")
@described(data=page_of("devices", DEVICE))
@blueprint.query(PageSchema)
def list_devices(query: Values) -> Response:
    """The devices of all people for administrators, and your own otherwise; late ones first."""
    page = read_page(db.session(), select_devices(signed_in_user()), query, "devices", _serialize_all)
    return answer(page, "Devices retrieved successfully")


@blueprint.delete("/devices/<key>/sign_ins")
@described(path={"key": UUID}, data=obj(sign_ins=COUNT), errors=("not_found",))
def sign_out(key: str) -> Response:
    """End all sign-ins of a device. Its unsent work stays on it."""
    count = sign_out_device(origin_of_request(), signed_in_user(), key)
    return answer({"sign_ins": count}, "Device signed out")


def _serialize_all(rows: Sequence[Any]) -> list[JsonObject]:
    return [serialize_device(row) for row in rows]
