"""Private values are hidden on pages and left out of exports, until the reader asks for them."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from fieldpost_console.pages.exports import report
from flask import Flask
from reportlab.platypus import Table
from werkzeug.test import TestResponse

from app.clock import to_wire
from app.models import FormFill, SetAside
from app.testing import Scene, push
from tests.conftest import SettableClock
from tests.pages.browser import Browser, Form, signed_in_browser
from tests.support.pictures import jpeg

#: The statements of all pages run on both databases in `tests/pages/test_matrix.py`.
pytestmark = pytest.mark.database("sqlite")

EXPORTS = "/console/exports"

STRUCTURE = [
    {"name": "Location", "type": "text"},
    {"name": "Phone_row_1", "type": "text", "label_name": "Phone", "private": True},
    {"name": "Fax", "type": "text", "label_name": "Fax", "private": True},
    {"name": "Riser_Photo", "type": "photo"},
    {"name": "Passport", "type": "photo", "private": True},
]

#: Texts that tell of a person.
CUSTOMER, PHONE, CELL = "Olga Customer", "555-0100", "555-0200"


@pytest.fixture
def scene(app: Flask) -> Scene:
    return Scene(app)


@pytest.fixture
def form_fill(scene: Scene) -> FormFill:
    """A form with private values, one of them in a repeated row, below an inspection of a customer."""
    place = {"property_name": "Mill"}
    root = scene.world.inspection(scene.user("owner"), property=place, customer={"name": CUSTOMER})
    template = scene.world.template(name="Riser", form_structure=STRUCTURE)
    return scene.world.form_fill(root, template, data={"Location": "Roof", "Phone_row_1": PHONE, "Phone_row_2": CELL})


@pytest.fixture
def office(scene: Scene) -> Browser:
    return signed_in_browser(scene.app, scene.user("owner"))


def asked(address: str) -> str:
    """The address with which the reader asks for private values."""
    return f"{address}{'&' if '?' in address else '?'}private=1"


def change(scene: Scene, form_fill: FormFill, **values: Any) -> None:
    """Somebody changes the form fill."""
    item = {"type": "form_fill", "local_id": str(uuid4()), "data": {"id": form_fill.id, "changes": values}}
    assert push(scene.client("owner"), item)["success"]


def send_photo(scene: Scene, form_fill: FormFill, field: str) -> None:
    data = {"form_fill_id": str(form_fill.id), "field_name": field, "photo": (io.BytesIO(jpeg()), "p.jpg")}
    assert scene.client("owner").post("/api/v1/sync/upload_photo", data=data).status_code == 200


def assert_hidden_until_asked(office: Browser, address: str, *texts: str) -> None:
    hidden, shown = office.get(address).text, office.get(asked(address)).text
    assert "hidden</span>" in hidden
    assert "Show private values" in hidden
    assert "Hide private values" in shown
    for text in texts:
        assert text not in hidden, text
        assert text in shown, text
    link = hidden.split("Show private values")[0].rsplit('href="', 1)[1].split('"')[0]
    assert office.get(unescape(link)).text.count(texts[0]) == shown.count(texts[0])


def test_lists_the_inspection_its_history_and_its_versions_hide_them(
    scene: Scene, form_fill: FormFill, office: Browser
) -> None:
    base = f"/console/inspections/{form_fill.inspection_id}"
    send_photo(scene, form_fill, "Passport")
    assert_hidden_until_asked(office, "/console/inspections", CUSTOMER)
    assert_hidden_until_asked(office, base, CUSTOMER, PHONE, CELL, 'alt="Passport"')
    assert "Roof" in office.get(base).text
    change(scene, form_fill, Phone_row_1="555-0300", Location="Cellar")
    # A key that the data has no longer has no label of its own.
    change(scene, form_fill, Phone_row_2=None)
    assert_hidden_until_asked(office, f"{base}/history", PHONE, CELL, "555-0300")
    assert "Cellar" in office.get(f"{base}/history").text
    versions = f"{base}/compare?entity=form_fill&key={form_fill.id}&older=0&newer=9999"
    assert_hidden_until_asked(office, versions, "555-0300")
    assert "Cellar" in office.get(versions).text


def test_what_was_not_answered_is_missing_and_not_hidden(form_fill: FormFill, office: Browser) -> None:
    page = office.get(f"/console/inspections/{form_fill.inspection_id}").text
    assert "no answer" in page.split("<dt>Fax</dt>")[1].split("</div>")[0]


def test_the_way_on_keeps_what_the_reader_has_asked_for(scene: Scene, form_fill: FormFill, office: Browser) -> None:
    for _ in range(51):
        scene.world.inspection(scene.user("owner"))
    page = office.get(asked("/console/inspections?_scheme=x&endpoint=y")).text
    link = unescape(page.split('rel="next"')[1].split('href="')[1].split('"')[0])
    assert link.startswith("/console/inspections?_scheme=x&endpoint=y&private=1&after=")
    assert '<input type="hidden" name="private" value="1">' in page
    assert CUSTOMER in office.get(link).text


def test_tables_leave_them_out(form_fill: FormFill, office: Browser) -> None:
    def lines(address: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(office.get(address).get_data().decode("utf-8-sig"))))

    inspections, values = f"{EXPORTS}/inspections.csv", f"{EXPORTS}/values.csv"
    assert "customer" not in lines(inspections)[0]
    assert [line["customer"] for line in lines(asked(inspections))] == [CUSTOMER]
    assert [line["value"] for line in lines(values)] == ["Roof"]
    assert sorted(line["value"] for line in lines(asked(values))) == [PHONE, CELL, "Roof"]
    assert PHONE.encode() not in texts_of(office.get(f"{EXPORTS}/values.xlsx"))
    assert PHONE.encode() in texts_of(office.get(asked(f"{EXPORTS}/values.xlsx")))


def texts_of(answer: TestResponse) -> bytes:
    """The sheet of a workbook."""
    return zipfile.ZipFile(io.BytesIO(answer.get_data())).read("xl/worksheets/sheet1.xml")


def test_pictures_of_private_fields_are_left_out(scene: Scene, form_fill: FormFill, office: Browser) -> None:
    for field in ("Riser_Photo", "Passport"):
        send_photo(scene, form_fill, field)
    for address, count in ((f"{EXPORTS}/photos.zip", 1), (asked(f"{EXPORTS}/photos.zip"), 2)):
        names = zipfile.ZipFile(io.BytesIO(office.get(address).get_data())).namelist()
        assert len(names) == count
        assert any("Passport" in name for name in names) == (count == 2)


def test_the_report_hides_them(
    scene: Scene, form_fill: FormFill, office: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_photo(scene, form_fill, "Passport")
    told: list[tuple[str, str]] = []
    table = report._table

    def noted(lines: list[tuple[str, str]]) -> Table:
        told.extend(lines)
        return table(lines)

    monkeypatch.setattr(report, "_table", noted)
    address = f"/console/inspections/{form_fill.inspection_id}/report.pdf"
    plain = office.get(address)
    assert plain.status_code == 200
    assert {("Phone", "hidden"), ("Location", "Roof"), ("Passport", "hidden"), ("Fax", "–")} <= set(told)
    assert not {PHONE, CELL} & {text for _, text in told}
    told.clear()
    full = office.get(asked(address))
    assert {("Phone", PHONE), ("Phone", CELL)} <= set(told)
    assert full.get_data().count(b"/Subtype /Image") > plain.get_data().count(b"/Subtype /Image")
    assert f"{address}?private=1" in office.get(asked(f"/console/inspections/{form_fill.inspection_id}")).text


def test_the_form_of_a_correction_shows_them(form_fill: FormFill, office: Browser) -> None:
    page = office.get(f"/console/inspections/{form_fill.inspection_id}/rows/form_fill/{form_fill.id}/correct")
    assert PHONE in page.text


# Items that were not applied


@pytest.fixture
def conflict(scene: Scene, form_fill: FormFill, clock: SettableClock) -> str:
    """The owner's change of a private value, on a version that an administrator has changed meanwhile; its page."""
    item = {"type": "form_fill", "local_id": str(uuid4())}
    data = {"id": form_fill.id, "updated_at": to_wire(form_fill.updated_at)}
    clock.forward(minutes=1)
    change_of = {"id": form_fill.id, "changes": {"Phone_row_1": "555-0300"}}
    push(scene.client("admin"), {"type": "form_fill", "local_id": "1", "data": change_of})
    sent = item | {"data": data | {"data": {"Phone_row_1": "555-0400", "Location": "Cellar"}}}
    assert len(push(scene.client("owner"), sent)["conflicts"]) == 1
    (row,) = scene.world.all(SetAside)
    return f"/console/conflicts/{row.id}"


@pytest.fixture
def refusal(scene: Scene, form_fill: FormFill) -> str:
    """A stranger's change of a private value; the page of the item."""
    data = {"id": form_fill.id, "data": {"Phone_row_1": "555-0400", "Location": "Cellar"}}
    push(scene.client("stranger"), {"type": "form_fill", "local_id": "1", "data": data})
    (row,) = scene.world.all(SetAside)
    return f"/console/set-aside/{row.id}"


def test_a_conflict_hides_them(office: Browser, conflict: str) -> None:
    assert_hidden_until_asked(office, conflict, PHONE, "555-0300", "555-0400")
    assert "Cellar" in office.get(conflict).text
    assert "Another value of Phone" not in office.get(conflict).text
    for address in ("/console/conflicts", "/console/set-aside", "/console/exports/set-aside.csv"):
        assert "555-0" not in office.get(address).get_data().decode(), address


@pytest.mark.parametrize(("choice", "phone"), [("device", "555-0400"), ("server", "555-0300"), ("before", PHONE)])
def test_what_is_hidden_can_be_chosen(
    scene: Scene, form_fill: FormFill, office: Browser, conflict: str, choice: str, phone: str
) -> None:
    choices = {"choice.Phone_row_1": choice, "choice.Location": "device", "decision": "choose"}
    assert office.send(conflict, conflict, choices).status_code == 303
    data = scene.world.get(FormFill, form_fill.id).data
    assert (data["Phone_row_1"], data["Location"]) == (phone, "Cellar")


def test_a_value_in_place_of_a_hidden_one_has_to_be_typed(
    scene: Scene, form_fill: FormFill, office: Browser, conflict: str
) -> None:
    choices = {"choice.Phone_row_1": "own", "choice.Location": "device", "decision": "choose"}
    answer = office.send(conflict, conflict, choices)
    assert (answer.status_code, "Choose a value." in answer.text) == (422, True)
    assert "555-0" not in answer.text
    answer = office.send(asked(conflict), asked(conflict), choices | {"value.Phone_row_1": "555-0500"})
    assert answer.status_code == 303
    assert scene.world.get(FormFill, form_fill.id).data["Phone_row_1"] == "555-0500"


def test_a_refused_item_hides_them_and_applies_them_all_the_same(
    scene: Scene, form_fill: FormFill, office: Browser, refusal: str
) -> None:
    assert_hidden_until_asked(office, refusal, "555-0400")
    assert "value.Phone_row_1" not in Form(office.get(refusal).text, refusal).fields
    assert office.send(refusal, refusal, {"decision": "change", "value.Location": "Yard"}).status_code == 303
    data = scene.world.get(FormFill, form_fill.id).data
    assert (data["Phone_row_1"], data["Location"]) == ("555-0400", "Yard")


def test_what_was_typed_comes_back_to_a_reader_who_has_asked(office: Browser, refusal: str) -> None:
    values = {"decision": "discard", "reason": " "}
    for address, is_shown in ((refusal, False), (asked(refusal), True)):
        form = Form(office.get(address).text, address).fields
        answer = office.post(address, form | values)
        assert (answer.status_code, "555-0400" in answer.text) == (422, is_shown)


def test_from_conflict_to_conflict_the_reader_need_not_ask_again(
    scene: Scene, form_fill: FormFill, office: Browser, conflict: str
) -> None:
    version = to_wire(form_fill.updated_at)
    data = {"id": form_fill.id, "updated_at": version, "data": {"Phone_row_1": "555-0600"}}
    push(scene.client("owner"), {"type": "form_fill", "local_id": "2", "data": data})
    page = office.get(asked(conflict)).text
    link = unescape(re.search(r'rel="(?:next|prev)" href="([^"]+)"', page)[1])  # type: ignore[index]
    assert "555-0600" in office.get(link).text
