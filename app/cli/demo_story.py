"""The story of the demo data: two people at work on two of the inspections, with photos, a correction and a conflict,
and a phone that broke before it could sync.

Everything comes in through the doors that devices and the office use, so that the history tells it as it would be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any
from uuid import uuid4

from PIL import Image, ImageDraw
from sqlalchemy import select

from app.administration.corrections import apply_in_office, form_of
from app.attachments import read_destination, store_image
from app.clock import now, to_wire
from app.core.database.engine import db
from app.core.host.registry import current_registry
from app.core.ledger.record import DEVICE_DOOR, Origin
from app.core.sync.attempt import Batch
from app.core.sync.batch import process_batch
from app.core.sync.items import read_items
from app.core.values import JsonObject
from app.models import FormFill, Inspection, User
from app.plugin_api import Model

#: The phone of the technician.
DEVICE_ID = "0d8f7a52-5f0c-4f0e-9c43-7a3d51b1a001"

#: What the technician finds, by the number of the inspection: the first one is left for you.
ANSWERS: Mapping[int, Mapping[str, Any]] = {
    2: {"Location_row_1": "Entrance", "Pressure_row_1": 85, "Valve_Open": "yes", "Location_row_2": "Reading room"},
    3: {"Location_row_1": "Basement, left of the lift", "Pressure_row_1": 92, "Valve_Open": "no"},
}


#: How far the inspection has come.
STATES: Mapping[int, Mapping[str, Any]] = {
    2: {"status": "in_progress"},
    3: {"status": "completed", "notes": "The valve of riser 1 is shut."},
}


#: What the technician's phone says of itself.
REPORT: Mapping[str, Any] = {
    "name": "Theo's phone",
    "platform": "Android 16",
    "app": "Field app",
    "app_version": "1.4.2",
    "waiting_items": 3,
    "waiting_photos": 4,
    "waiting_bytes": 5_200_000,
    "storage_used": 55_000_000,
    "last_error": "no network",
}


def tell_story(office: User, technician: User, inspection_ids: list[int]) -> list[JsonObject]:
    """Let the technician fill forms and take photos, the office correct a value, and both change one value at once.

    Returns the queue of the technician's old phone: two changes that it could not send before it broke.
    """
    device = Origin(door=DEVICE_DOOR, user_id=technician.id, device_id=DEVICE_ID)
    for number, answers in ANSWERS.items():
        inspection_id = inspection_ids[number - 1]
        form_fill = _form_of(inspection_id)
        _take_pictures(technician.id, form_fill.id, number)
        _send(device, FormFill, form_fill.id, to_wire(form_fill.updated_at), answers)
        inspection = db.session.get_one(Inspection, inspection_id)
        _send(device, Inspection, inspection_id, to_wire(inspection.updated_at), STATES[number])
    form_fill = _form_of(inspection_ids[1])
    row_id, version = form_fill.id, to_wire(form_fill.updated_at)
    form = form_of(FormFill)
    if form is not None:
        apply_in_office(office, form.handler.type, form.payload(row_id, version, {"Location_row_1": "Entrance, right"}))
    # The technician, without a network, has changed the same value of the same version.
    tablet = Origin(door=DEVICE_DOOR, user_id=technician.id, device_id=str(uuid4()))
    _send(tablet, FormFill, row_id, version, {"Location_row_1": "Behind the door"})
    _take_picture(replace(tablet, door="upload"), row_id, ("photo", "Riser_Photo", _riser(4)))
    last = _form_of(inspection_ids[2])
    queue = (
        (last.id, to_wire(last.updated_at), {"Location_row_2": "Roof", "Pressure_row_2": 88}),
        # An older version of the value that was corrected.
        (row_id, version, {"Location_row_1": "Behind the stairs"}),
    )
    return [item for place in queue for item in _items(FormFill, *place)]


def _form_of(inspection_id: int) -> FormFill:
    return db.session.scalars(select(FormFill).where(FormFill.inspection_id == inspection_id)).one()


def _send(device: Origin, model: Model, row_id: int, version: str, values: Mapping[str, Any]) -> None:
    """One change from the device, which says how it is doing; the technician's tablet only tells its name."""
    sent, registry = _items(model, row_id, version, values), current_registry()
    items = read_items({"sync_items": sent}, registry)
    report = dict(REPORT) if device.device_id == DEVICE_ID else {"name": "Theo's tablet"}
    process_batch(Batch(items=items, elements=sent, origin=device, registry=registry, report=report))


def _items(model: Model, row_id: int, version: str, values: Mapping[str, Any]) -> list[JsonObject]:
    """The item of one change, as an app would make it; none where no installed type can make it."""
    form = form_of(model)
    if form is None:
        return []
    payload = form.payload(row_id, version, dict(values))
    head = {"type": form.handler.type, "local_id": str(uuid4()), "made_at": to_wire(now())}
    return [{**head, form.handler.data_keys[0]: payload}]


def _take_pictures(user_id: int, form_fill_id: int, number: int) -> None:
    origin = Origin(door="upload", user_id=user_id, device_id=DEVICE_ID)
    pictures = [("photo", "Riser_Photo", _riser(number)), ("photo", "Riser_Photo", _riser(number + 3))]
    pictures = pictures[:1] if number == 2 else [*pictures, ("signature", "Signature", _signature())]
    for picture in pictures:
        _take_picture(origin, form_fill_id, picture)


def _take_picture(origin: Origin, form_fill_id: int, picture: tuple[str, str, bytes]) -> None:
    """Upload a picture: its kind, its field and its bytes."""
    kind, field, data = picture
    texts = {"form_fill_id": str(form_fill_id), "field_name": field, "filename": f"{field.lower()}.png"}
    store_image(origin, read_destination(kind, texts), data)


def _riser(number: int) -> bytes:
    """A drawing of pipes with a gauge; another `number`, another one."""
    image = Image.new("RGB", (800, 600), (214, 206, 190))
    draw = ImageDraw.Draw(image)
    for place in range(0, 800, 80):
        draw.line((place, 0, place, 600), fill=(203, 194, 176), width=2)
    draw.rectangle((340, 0, 420, 600), fill=(178, 34, 34))
    draw.rectangle((120 + 15 * number, 380, 640, 430), fill=(160, 28, 28))
    draw.ellipse((460, 120, 640, 300), fill=(245, 245, 240), outline=(40, 40, 40), width=8)
    draw.line((550, 210, 500 + 25 * number, 150), fill=(20, 20, 20), width=6)
    return _encoded(image)


def _signature() -> bytes:
    image = Image.new("RGB", (600, 200), "white")
    curve = [(40, 130), (90, 50), (110, 150), (170, 80), (200, 140), (260, 70), (300, 140), (420, 90), (560, 110)]
    ImageDraw.Draw(image).line(curve, fill=(20, 30, 110), width=5, joint="curve")
    return _encoded(image)


def _encoded(image: Image.Image) -> bytes:
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
