"""The page of a conflict: who made both sides and when, and the pictures of both."""

from __future__ import annotations

from html.parser import HTMLParser
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from fieldpost_console.pages import conflict_pictures
from flask import Flask
from flask.testing import FlaskClient

from app.clock import to_wire
from app.models import Attachment, FormFill, Inspection, SetAside
from app.testing import Scene, push, sign_in, statements_of
from tests.conftest import SettableClock
from tests.pages.browser import Browser, Form, signed_in_browser
from tests.support.pictures import png

#: The statements of all pages run on both databases in `tests/pages/test_matrix.py`.
pytestmark = pytest.mark.database("sqlite")

PHONE, TABLET = "0f5d2b5e-7c1a-4d7e-9b1f-0a4c3e2d1b01", "0f5d2b5e-7c1a-4d7e-9b1f-0a4c3e2d1b02"

STRUCTURE = [
    {"name": "Location", "type": "text"},
    {"name": "Riser_Photo", "type": "photo", "label_name": "Photo of the riser"},
    {"name": "Passport", "type": "photo", "private": True},
]


class Sides(HTMLParser):
    """Which pictures a page shows below which heading, and what stands there."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.pictures: dict[str, list[str]] = {}
        self.texts: dict[str, str] = {}
        self._heading, self._is_heading = "", False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a picture, or that a heading begins."""
        self._is_heading = tag == "h3"
        values = dict(attrs)
        if tag == "img" and self._heading:
            source = str(values["src"])
            self.pictures[self._heading].append(source.split("/")[-1].split("?")[0])

    def handle_data(self, data: str) -> None:
        """Note a heading, or a text below it."""
        if self._is_heading:
            self._heading, self._is_heading = data, False
            self.pictures[data], self.texts[data] = [], ""
        elif self._heading:
            self.texts[self._heading] += data

    def handle_endtag(self, tag: str) -> None:
        """Note the end of the part with the pictures."""
        if tag == "section":
            self._heading = ""


@pytest.fixture
def scene(app: Flask) -> Scene:
    return Scene(app)


@pytest.fixture
def form_fill(scene: Scene) -> FormFill:
    template = scene.world.template(name="Riser", form_structure=STRUCTURE)
    return scene.world.form_fill(scene.inspection, template, data={"Location": "Entrance"})


@pytest.fixture
def phone(scene: Scene) -> FlaskClient:
    """The technician's, from which the conflict comes."""
    return sign_in(scene.app, scene.user("technician"), PHONE)


@pytest.fixture
def office(scene: Scene) -> Browser:
    return signed_in_browser(scene.app, scene.user("admin"))


def take_photo(scene: Scene, client: FlaskClient, form_fill: FormFill, field: str = "Riser_Photo") -> str:
    """Upload a photo unlike all others; its id."""
    before = {row.id for row in scene.world.all(Attachment)}
    photo = BytesIO(png((16, 16 + len(before))))
    data = {"form_fill_id": str(form_fill.id), "field_name": field, "photo": (photo, "riser.png")}
    assert client.post("/api/v1/sync/upload_photo", data=data).status_code == 200
    (key,) = {row.id for row in scene.world.all(Attachment)} - before
    return str(key)


def edit(form_fill: FormFill, version: str | None = None, made_at: str | None = None, **data: Any) -> dict[str, Any]:
    held = {} if version is None else {"updated_at": version}
    payload = {"id": form_fill.id, "data": data, **held}
    return {"type": "form_fill", "local_id": str(uuid4()), "made_at": made_at, "data": payload}


def clash(scene: Scene, phone: FlaskClient, form_fill: FormFill, version: str, made_at: str | None = None) -> str:
    """Let the technician and the owner change one field; the address of the conflict."""
    push(scene.client("owner"), edit(form_fill, made_at="2024-03-15T08:15:00Z", Location="Cellar"))
    assert len(push(phone, edit(form_fill, version, made_at, Location="Roof"))["conflicts"]) == 1
    (row,) = scene.world.all(SetAside)
    return f"/console/conflicts/{row.id}"


def test_it_says_who_made_each_side_and_when(
    scene: Scene, form_fill: FormFill, phone: FlaskClient, office: Browser, clock: SettableClock
) -> None:
    version = to_wire(form_fill.updated_at)
    clock.forward(minutes=1)
    address = clash(scene, phone, form_fill, version, "2024-03-15T09:30:00+02:00")
    device, server = (office.get(address).text.split(f"<dt>{text}</dt>")[1].split("</div>")[0] for text in (
        "Made on the device", "Last change on the server",
    ))  # fmt: skip
    assert 'datetime="2024-03-15T07:30:00.000Z"' in device
    assert scene.user("owner").name in server
    assert f'datetime="{to_wire(clock.time)}"' in server
    assert 'made <time datetime="2024-03-15T08:15:00.000Z"' in server


def test_without_a_time_of_its_device_it_says_none(
    scene: Scene, form_fill: FormFill, phone: FlaskClient, office: Browser, clock: SettableClock
) -> None:
    version = to_wire(form_fill.updated_at)
    clock.forward(minutes=1)
    assert "Made on the device" not in office.get(clash(scene, phone, form_fill, version)).text


def test_a_third_value_is_checked_by_the_schema_of_the_type(
    scene: Scene, phone: FlaskClient, office: Browser, clock: SettableClock
) -> None:
    root = scene.inspection
    held = {"id": root.id, "updated_at": to_wire(root.updated_at)}
    clock.forward(minutes=1)
    for client, status in ((scene.client("owner"), "completed"), (phone, "in_progress")):
        push(client, {"type": "inspection", "local_id": str(uuid4()), "data": held | {"status": status}})
    (row,) = scene.world.all(SetAside)
    address = f"/console/conflicts/{row.id}"
    chosen = {"choice.status": "own", "value.status": "", "decision": "choose"}
    answer = office.send(address, address, chosen)
    assert (answer.status_code, "Field may not be null." in answer.text) == (422, True)
    fields = Form(answer.text, address).fields
    assert (fields["value.status"], scene.world.get(Inspection, root.id).status) == ("", "completed")
    assert office.send(address, address, chosen | {"value.status": '"canceled"'}).status_code == 303
    assert scene.world.get(Inspection, root.id).status == "canceled"


class TestPictures:
    def test_each_stands_on_the_side_from_which_it_came(
        self, scene: Scene, form_fill: FormFill, phone: FlaskClient, office: Browser, clock: SettableClock
    ) -> None:
        technician, owner = scene.user("technician"), scene.user("owner")
        old = take_photo(scene, phone, form_fill)
        clock.forward(minutes=1)
        push(phone, edit(form_fill, Location="Hall"))
        version = to_wire(scene.world.get(FormFill, form_fill.id).updated_at)
        clock.forward(minutes=1)
        address = clash(scene, phone, form_fill, version)
        sent = [take_photo(scene, phone, form_fill) for _ in range(2)]
        others = [
            take_photo(scene, client, form_fill)
            for client in (scene.client("owner"), sign_in(scene.app, technician, TABLET))
        ]
        sides = Sides(office.get(address).text)
        assert {side: set(keys) for side, keys in sides.pictures.items()} == {
            "Before": {old}, "On the device": {*sent}, "On the server": {*others},
        }  # fmt: skip
        assert technician.name in sides.texts["On the device"]
        assert owner.name in sides.texts["On the server"]
        assert "Photo of the riser" in sides.texts["Before"]

    def test_a_conflict_without_pictures_has_no_part_for_them(
        self, scene: Scene, form_fill: FormFill, phone: FlaskClient, office: Browser, clock: SettableClock
    ) -> None:
        version = to_wire(form_fill.updated_at)
        clock.forward(minutes=1)
        page = office.get(clash(scene, phone, form_fill, version)).text
        assert "Photos and signatures" not in page
        assert "lightbox" not in page.split("</head>")[1]

    def test_there_are_only_the_latest_of_many_and_the_statements_are_as_many_as_of_one(
        self, scene: Scene, form_fill: FormFill, phone: FlaskClient, office: Browser, clock: SettableClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(conflict_pictures, "MOST", 2)
        version = to_wire(form_fill.updated_at)
        clock.forward(minutes=1)
        address = clash(scene, phone, form_fill, version)
        keys, counts = [], set()
        for _ in range(3):
            clock.forward(minutes=1)
            keys.append(take_photo(scene, phone, form_fill))
            with statements_of(scene.app) as statements:
                page = office.get(address).text
            counts.add(len(statements))
        assert len(counts) == 1
        assert Sides(page).pictures == {"On the device": keys[1:]}
        assert "The inspection has older ones, too." in page

    def test_those_of_private_fields_are_hidden_until_the_reader_asks(
        self, scene: Scene, form_fill: FormFill, phone: FlaskClient, office: Browser, clock: SettableClock
    ) -> None:
        version = to_wire(form_fill.updated_at)
        clock.forward(minutes=1)
        address = clash(scene, phone, form_fill, version)
        plain = take_photo(scene, phone, form_fill)
        clock.forward(minutes=1)
        secret = take_photo(scene, phone, form_fill, "Passport")
        hidden = Sides(office.get(address).text)
        assert hidden.pictures == {"On the device": [plain]}
        assert "hidden" in hidden.texts["On the device"]
        assert Sides(office.get(f"{address}?private=1").text).pictures == {"On the device": [plain, secret]}

    def test_somebody_whose_name_is_gone_leaves_the_pictures(
        self, scene: Scene, form_fill: FormFill, phone: FlaskClient, office: Browser, clock: SettableClock
    ) -> None:
        version = to_wire(form_fill.updated_at)
        clock.forward(minutes=1)
        address = clash(scene, phone, form_fill, version)
        attachment = scene.world.attachment(form_fill)
        sides = Sides(office.get(address).text)
        assert any(attachment.id in keys for keys in sides.pictures.values())
        assert "somebody who is no longer known" in "".join(sides.texts.values())


def test_names_of_people_are_texts_and_never_markup(scene: Scene, clock: SettableClock, office: Browser) -> None:
    person = scene.world.user(name="<script>alert('x')</script>")
    template = scene.world.template(form_structure=STRUCTURE)
    root = scene.world.inspection(scene.user("owner"), person)
    form_fill = scene.world.form_fill(root, template, data={"Location": "Entrance"})
    phone, version = sign_in(scene.app, person, PHONE), to_wire(form_fill.updated_at)
    clock.forward(minutes=1)
    address = clash(scene, phone, form_fill, version)
    take_photo(scene, phone, form_fill)
    page = office.get(address).text
    assert page.split("On the device</h3>")[1].split("</section>")[0].count("alert(") == 1
    assert "<script>alert" not in page
