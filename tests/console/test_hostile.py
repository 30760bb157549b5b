"""Addresses, names and answers that somebody made up: pages, routes and exports refuse or show them."""

from __future__ import annotations

import csv
import io
import zipfile
from xml.etree import ElementTree

import pytest
from fieldpost_console.pages.exports import tables
from flask import Flask

from app.models import Inspection, User
from app.testing import Scene, sign_in
from tests.pages.browser import Browser, signed_in_browser
from tests.support.cases import cases
from tests.support.pictures import jpeg

#: Places in a list that are none, as they stand in an address.
PLACES = [
    *("2026-01-01T00:00:00~1", "0001-01-01T00:00:00%2B14:00~1", "9999-12-31T23:59:59-14:00~1", "a%00b~1", "~", "%ff~1"),
    "2026-01-01T00:00:00Z~9999999999999999999",
]

LISTS = ["audit", "users", "inspections", "inspections?sort=date", "form-templates", "set-aside", "devices"]

#: The name space of a workbook's sheet.
SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"

#: Addresses of the API with a NUL, which PostgreSQL takes in no text.
NULS = [
    *(
        "set_aside/a%00",
        "set_aside?after=2026-01-01T00:00:00Z_a%00",
        "attachments/a%00",
        "entities/form_fill/%00/history",
    ),
    *(
        "entities/%00/1/history",
        "uploads/%00",
        "inspections?q=%00",
        "sync/changes?cursor=%00",
        "form_fills/%00",
        "docs/%00",
    ),
]

#: The same of pages.
NULS_OF_PAGES = [
    *(
        "set-aside/%00",
        "conflicts/%00",
        "pictures/%00",
        "inspections/1/history?entity=form_fill&id=%00",
        "exports/%00.csv",
    ),
    *("inspections/1?entity=attachment&after=%00", "inspections/1/rows/form_fill/%00/correct", "static/%00"),
    *("inspections/1/compare?entity=form_fill&id=%00&older=1&newer=2", "set-aside/decide?ids=%00&scope=these"),
    *("exports/inspections.csv?q=%00", "inspections/assign?ids=%00", "set-aside?code=%00", "devices?late=%00"),
]


@pytest.fixture
def scene(app: Flask) -> Scene:
    return Scene(app)


@pytest.fixture
def admin(scene: Scene) -> User:
    user: User = scene.user("admin")
    return user


@pytest.fixture
def office(app: Flask, admin: User) -> Browser:
    return signed_in_browser(app, admin)


def test_a_place_that_was_made_up_is_no_fault_of_ours(office: Browser) -> None:
    places = [(page, place) for page in LISTS for place in PLACES if page in ("audit", "users") or place in PLACES[:1]]
    addresses = [f"/console/{page}{'&' if '?' in page else '?'}after={place}" for page, place in places]
    assert [address for address in addresses if office.get(address).status_code >= 500] == []


def test_a_nul_in_an_address_is_no_fault_of_ours(scene: Scene, admin: User, office: Browser) -> None:
    scene.world.form_fill(scene.world.inspection(admin))
    client = sign_in(scene.app, admin)
    answers = {path: client.get(f"/api/v1/{path}") for path in NULS}
    answers |= {path: office.get(f"/console/{path}") for path in NULS_OF_PAGES}
    answers["decision"] = client.post("/api/v1/set_aside/a%00/decision", json={"decision": "discard"})
    assert [path for path, answer in answers.items() if answer.status_code >= 500] == []


def test_a_nul_in_a_search_or_a_form_is_refused_and_nothing_is_stored(scene: Scene, office: Browser) -> None:
    answers = [office.get(f"/console/{page}?q=a%00b") for page in ("inspections", "users", "form-templates", "devices")]
    for fields in ({"notes": "a\0b"}, {"customer.phone_1": "\0"}, {"a\0b": "c"}):
        answers.append(office.send("/console/inspections/new", "/console/inspections/new", fields))
    answers.append(Browser(scene.app).send("/sign-in", "/sign-in", {"email": "a\0b", "password": "a"}))
    assert [answer.status_code for answer in answers] == [400] * 8
    assert scene.world.all(Inspection) == []


def test_photos_of_fields_with_long_names_have_names_of_their_own(scene: Scene, office: Browser) -> None:
    form_fill = scene.world.form_fill(scene.world.inspection(scene.user("owner"), scene.user("technician")))
    technician = sign_in(scene.app, scene.user("technician"))
    for end in "ab":
        form = {"form_fill_id": form_fill.id, "field_name": "é" * 200 + end, "photo": (io.BytesIO(jpeg()), "p.jpg")}
        assert technician.post("/api/v1/sync/upload_photo", data=form).status_code == 200
    body = office.get("/console/exports/photos.zip").get_data()
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        names = archive.namelist()
    assert len({*names}) == 2
    assert all(len(part.encode()) <= 255 for name in names for part in name.split("/"))


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@A1", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠A1"])
def test_no_text_of_a_csv_file_is_a_formula(scene: Scene, office: Browser, text: str) -> None:
    scene.world.inspection(scene.user("owner"), notes=text)
    table = office.get("/console/exports/inspections.csv").get_data().decode("utf-8-sig")
    (line,) = csv.DictReader(io.StringIO(table, newline=""))
    assert line["notes"] == f"'{text}"


@cases(
    "text",
    [
        *("<r>", "<r></r>", "<r><b></r>", "<r></is></c><c r='Z9'><f>1+1</f></c><c><is></r>", " <r></r>", "<r></r>\n"),
        *("<r>" + "a" * 32760 + "</r>", "<r>" + "a" * 32757 + "</r></r>", "😀" * 16_384, "\x01_x0041_\ufffe", "=1+1"),
    ],
)
def test_no_text_of_a_workbook_is_markup_or_a_formula(text: str) -> None:
    """Otherwise one answer would put formulas into the cells of others, or spoil the whole file."""
    file = io.BytesIO()
    tables._write_workbook(file, ("a", "b"), iter([(text, "behind")]))
    with zipfile.ZipFile(file) as archive:
        sheet = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    shown = ["".join(cell.itertext()) for cell in sheet.iter(f"{SHEET}c")]
    assert len(shown) == 4
    assert shown[3] == "behind"
    assert len(shown[2].encode("utf-16-le")) <= 2 * 32_767
    if text.isprintable():
        assert text.startswith(shown[2].rstrip())
    assert [*sheet.iter(f"{SHEET}f"), *sheet.iter(f"{SHEET}r")] == []


@cases("value", ["x\n" * 300, "W" * 5000, "東" * 5000, "<b>&amp;" * 600, "\x01\u202e\uffff"])
def test_a_report_has_room_for_any_answer(scene: Scene, office: Browser, value: str) -> None:
    structure = [{"name": "a", "label_name": "W" * 255}]
    inspection = scene.world.inspection(scene.user("owner"), notes=value)
    scene.world.form_fill(inspection, scene.world.template(form_structure=structure), data={"a": value})
    answer = office.get(f"/console/inspections/{inspection.id}/report.pdf")
    assert answer.status_code == 200
    assert answer.get_data().startswith(b"%PDF-")
