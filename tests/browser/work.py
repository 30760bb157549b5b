"""Work in the field and its accidents, for tests to begin with: forms, conflicts, refused items, and devices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any
from uuid import uuid4

from flask.testing import FlaskClient

from app.clock import to_wire
from app.config import API_PREFIX
from app.models import FormFill, Inspection, SetAside, User
from app.testing import push, sign_in
from tests.browser.sites import Site
from tests.support.pictures import png

STRUCTURE = [
    {"name": "Location", "type": "text", "label_name": "Location", "section_name": "Risers"},
    {"name": "Pressure", "type": "number", "label_name": "Static pressure", "unit": "psi", "section_name": "Risers"},
    {"name": "Valve", "type": "select", "label_name": "Valve", "section_name": "Risers", "options": ["open", "shut"]},
    {"name": "Riser_Photo", "type": "photo", "label_name": "Photo of the riser", "section_name": "Risers"},
]

BEFORE = {"Location": "Entrance", "Pressure": 85, "Valve": "open"}


@dataclass(frozen=True)
class Work:
    """An owner's inspection of this place, with one form, that a technician fills."""

    site: Site
    place: str
    owner: User
    technician: User
    inspection: Inspection
    form: FormFill

    @cached_property
    def phone(self) -> FlaskClient:
        """The technician's, which has reported."""
        client = sign_in(self.site.app, self.technician, str(uuid4()))
        report = {"name": f"Phone of {self.place}", "app": "Fieldpost", "waiting_items": 2, "last_error": "no network"}
        assert client.post(f"{API_PREFIX}/sync/device", json=report).status_code == 200
        return client

    def edit(self, held: str | None = None, **answers: Any) -> dict[str, Any]:
        """An item that changes answers of the form; `held`: the version that its device knows."""
        version = {} if held is None else {"updated_at": held}
        return {"type": "form_fill", "local_id": str(uuid4()), "data": {"id": self.form.id, "data": answers, **version}}

    def send(self, item: dict[str, Any]) -> str:
        """Send it with the technician's phone; the id of what was set aside, or nothing."""
        push(self.phone, item)
        return next((row.id for row in self.site.world.all(SetAside) if row.local_id == item["local_id"]), "")

    def conflict(self, **answers: Any) -> str:
        """The id of a conflict: the technician's answers on a version that the owner has changed meanwhile."""
        held = to_wire(self.site.world.get(FormFill, self.form.id).updated_at)
        push(sign_in(self.site.app, self.owner), self.edit(Location=f"Entrance, right, {uuid4()}"))
        return self.send(self.edit(held, **{"Location": "Behind the door", "Pressure": 86, **answers}))

    def refusal(self, **answers: Any) -> str:
        """The id of an item that was refused, because the technician sends it for the form of somebody else."""
        other = begin(self.site, self.place)
        item = self.edit(**{"Location": "Basement", "Pressure": 80, **answers})
        item["data"]["id"] = other.form.id
        return self.send(item)

    def take_photos(self, number: int = 2) -> None:
        """Upload pictures of the riser with the technician's phone."""
        for place in range(number):
            photo = (BytesIO(png((64, 48 + place))), "riser.png")
            values = {"form_fill_id": self.form.id, "field_name": "Riser_Photo", "photo": photo}
            answer = self.phone.post(f"{API_PREFIX}/sync/upload_photo", data=values)
            assert answer.status_code == 200, answer.text

    @property
    def answers(self) -> dict[str, Any]:
        """The form's answers as they are now."""
        found: dict[str, Any] = self.site.world.get(FormFill, self.form.id).data
        return found


def begin(site: Site, place: str, owner: User | None = None, **texts: Any) -> Work:
    """An inspection of this place with a filled form, an owner and a technician of its own."""
    technician = site.user(name=f"Theo of {place}")
    owner = owner or site.user("user", name=f"Olga of {place}")
    inspection = site.world.inspection(owner, technician, property={"property_name": place}, **texts)
    template = site.world.template(name=f"Riser of {place}", form_structure=STRUCTURE)
    form = site.world.form_fill(inspection, template, data=BEFORE)
    return Work(site, place, owner, technician, inspection, form)
