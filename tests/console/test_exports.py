"""What leaves the console: CSV, XLSX, photos as a ZIP, and the report on an inspection as a PDF."""

from __future__ import annotations

import csv
import io
import re
import tracemalloc
import zipfile
from html import unescape
from typing import Any

import pytest
from fieldpost_console.pages.exports import photos, pieces, report, tables
from flask import Flask
from werkzeug.test import TestResponse

from app.attachments import current_storage
from app.config import API_PREFIX
from app.models import Attachment, FormFill, Inspection
from app.testing import Scene, sign_in, statements_of
from tests.pages.browser import Browser, signed_in_browser
from tests.support.cases import cases
from tests.support.pictures import jpeg

EXPORTS = "/console/exports"

#: A name that a spreadsheet would run, with letters beyond Latin-1.
FORMULA = '=HYPERLINK("http://evil.example","Łódź")'


@pytest.fixture
def scene(app: Flask) -> Scene:
    return Scene(app)


@pytest.fixture
def office(scene: Scene) -> Browser:
    return signed_in_browser(scene.app, scene.user("admin"))


def make(scene: Scene, name: str, **values: Any) -> Inspection:
    inspection: Inspection = scene.world.inspection(
        scene.user("owner"), scene.user("technician"), property={"property_name": name}, **values
    )
    return inspection


def lines_of(answer: TestResponse) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.get_data().decode("utf-8-sig"))))


def photo_of(scene: Scene, form_fill: FormFill, name: str = "Riser_Photo") -> bytes:
    """Upload a photo, and return its bytes."""
    data = jpeg()
    form = {"form_fill_id": str(form_fill.id), "field_name": name, "photo": (io.BytesIO(data), "p.jpg")}
    answer = sign_in(scene.app, scene.user("technician")).post(f"{API_PREFIX}/sync/upload_photo", data=form)
    assert answer.status_code in (200, 201), answer.text
    return data


def test_the_csv_has_the_inspections_of_the_list_with_its_filters(scene: Scene, office: Browser) -> None:
    make(scene, "Dock", notes='a,b\n"c"')
    make(scene, "Mill", status="completed")
    lines = lines_of(office.get(f"{EXPORTS}/inspections.csv"))
    assert [line["property"] for line in lines] == ["Dock", "Mill"]
    assert (lines[0]["notes"], lines[0]["owner"]) == ('a,b\n"c"', scene.user("owner").name)
    (line,) = lines_of(office.get(f"{EXPORTS}/inspections.csv?status=completed&sort=date"))
    assert line["property"] == "Mill"


@cases("name", ["inspections.csv", "values.csv", "inspections.xlsx", "photos.zip"])
def test_a_filter_that_means_nothing_exports_nothing(office: Browser, name: str) -> None:
    answer = office.get(f"{EXPORTS}/{name}?status=lost")
    assert answer.status_code == 400
    assert "These filters mean nothing: status" in answer.text


def test_people_export_what_they_see(scene: Scene) -> None:
    inspection = make(scene, "Dock")
    scene.world.form_fill(inspection, data={"a": 1})
    stranger = signed_in_browser(scene.app, scene.user("stranger"))
    assert lines_of(stranger.get(f"{EXPORTS}/inspections.csv")) == []
    assert lines_of(stranger.get(f"{EXPORTS}/values.csv")) == []
    assert stranger.get(f"/console/inspections/{inspection.id}/report.pdf").status_code == 404
    owner = signed_in_browser(scene.app, scene.user("owner"))
    assert len(lines_of(owner.get(f"{EXPORTS}/inspections.csv"))) == 1


def test_a_text_that_a_spreadsheet_would_run_is_a_text(scene: Scene, office: Browser) -> None:
    make(scene, FORMULA)
    (line,) = lines_of(office.get(f"{EXPORTS}/inspections.csv"))
    assert line["property"] == "'" + FORMULA
    assert FORMULA in cells_of(office.get(f"{EXPORTS}/inspections.xlsx"))


def cells_of(answer: TestResponse) -> list[str]:
    """The texts and numbers of a workbook's sheet; formulas make the test fail."""
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.get_data())) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    return [unescape(cell) for cell in re.findall(r"<(?:v|t|t [^>]*)>([^<]*)</", sheet)]


def test_the_answers_have_their_labels_and_numbers_are_numbers(scene: Scene, office: Browser) -> None:
    structure = [{"name": "p", "type": "number", "label_name": "Pressure", "section_name": "Riser", "unit": "psi"}]
    template = scene.world.template(form_structure=structure)
    scene.world.form_fill(make(scene, "Dock"), template, data={"p": 85, "strange": [1, "x"]})
    lines = lines_of(office.get(f"{EXPORTS}/values.csv"))
    (pressure,) = [line for line in lines if line["label"] == "Pressure"]
    assert (pressure["section"], pressure["value"], pressure["unit"]) == ("Riser", "85", "psi")
    assert pressure["entity"] == "form_fill"
    assert [line["value"] for line in lines if line["label"] == "Strange"] == ["1, x"]
    assert "85" in cells_of(office.get(f"{EXPORTS}/values.xlsx"))


def test_all_pieces_of_a_list_are_exported_once(scene: Scene, office: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "AT_A_TIME", 3)
    ids = [str(make(scene, f"P{number}").id) for number in range(8)]
    assert [line["id"] for line in lines_of(office.get(f"{EXPORTS}/inspections.csv"))] == ids


def test_values_stand_by_inspection_then_by_model_then_by_row(
    scene: Scene, office: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "AT_A_TIME", 3)
    monkeypatch.setattr(pieces, "ROWS_AT_A_TIME", 2)
    inspections = [make(scene, f"P{number}") for number in range(4)]
    made = [(str(one.id), str(scene.world.form_fill(one, data={"a": 1}).id)) for one in (*inspections[::-1] * 2,)]
    lines = [line for line in lines_of(office.get(f"{EXPORTS}/values.csv")) if line["entity"] == "form_fill"]
    assert [(line["inspection_id"], line["row_id"]) for line in lines] == sorted(
        made, key=lambda pair: tuple(map(int, pair))
    )


def test_more_inspections_take_no_more_statements(scene: Scene, office: Browser) -> None:
    counts = []
    for number in (2, 10):
        for _ in range(number):
            scene.world.form_fill(make(scene, "Dock"), data={"a": 1})
        with statements_of(scene.app) as statements:
            for name in ("inspections", "values"):
                lines_of(office.get(f"{EXPORTS}/{name}.csv"))
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_a_workbook_that_would_be_too_long_is_refused(
    scene: Scene, office: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(scene, "Dock")
    make(scene, "Mill")
    monkeypatch.setattr(tables, "MOST_LINES", 1)
    answer = office.get(f"{EXPORTS}/inspections.xlsx")
    assert answer.status_code == 400
    assert "export them as CSV" in answer.text


def test_the_zip_has_the_bytes_of_every_photo_and_says_its_length(scene: Scene, office: Browser) -> None:
    inspection = make(scene, "../Dock: <1>")
    form_fill = scene.world.form_fill(inspection)
    data = photo_of(scene, form_fill)
    photo_of(scene, form_fill, "Other_Photo")
    scene.world.attachment(scene.world.form_fill(scene.world.inspection(scene.user("stranger"))))
    answer = signed_in_browser(scene.app, scene.user("owner")).get(f"{EXPORTS}/photos.zip")
    body = answer.get_data()
    assert len(body) == answer.content_length
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        names = archive.namelist()
        assert len(names) == len(set(names)) == 2
        assert not [name for name in names if ".." in name.split("/") or name.startswith("/") or ":" in name]
        assert archive.read(next(name for name in names if "Riser" in name)) == data


def test_a_zip_that_would_be_too_long_is_refused(
    scene: Scene, office: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo_of(scene, scene.world.form_fill(make(scene, "Dock")))
    monkeypatch.setattr(photos, "MOST_PICTURES", 0)
    assert office.get(f"{EXPORTS}/photos.zip").status_code == 400


def test_the_report_is_a_pdf_with_answers_photos_and_any_letters(scene: Scene, office: Browser) -> None:
    inspection = make(scene, "Łódź & <b>Dock</b> 東京", notes="One\nTwo " + "long" * 500)
    structure = [
        {"name": "p", "type": "number", "label_name": "Pressure", "section_name": "Riser"},
        {"name": "Riser_Photo", "type": "photo", "label_name": "Photo"},
    ]
    form_fill = scene.world.form_fill(inspection, scene.world.template(form_structure=structure), data={"p": 85})
    address = f"/console/inspections/{inspection.id}/report.pdf"
    plain = office.get(address).get_data()
    photo_of(scene, form_fill)
    answer = office.get(address)
    assert answer.mimetype == "application/pdf"
    assert answer.get_data().startswith(b"%PDF-")
    assert answer.get_data().count(b"/Subtype /Image") > plain.count(b"/Subtype /Image")


def test_a_report_ends_with_a_sentence_where_its_answers_are_too_many(
    scene: Scene, office: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspection = make(scene, "Dock", notes="Ask for the key")
    template = scene.world.template(form_structure=[{"name": f"a{index}"} for index in range(300)])
    scene.world.form_fill(inspection, template, data={f"a{index}": f"answer {index}" for index in range(300)})
    texts: list[str] = []
    draw = report._text

    def noted(text: str, style: Any) -> Any:
        texts.append(text)
        return draw(text, style)

    monkeypatch.setattr(report, "_text", noted)
    for most, shown in ((300, 300), (299, 299), (1, 1)):
        texts.clear()
        monkeypatch.setattr(report, "MOST_CHARACTERS", most * report.LEAST_CHARACTERS)
        assert office.get(f"/console/inspections/{inspection.id}/report.pdf").status_code == 200
        assert [text for text in texts if "answer " in text] == [f"answer {index}" for index in range(shown)]
        assert any("no room for more answers" in text for text in texts) == (shown < 300)
        assert "Ask for the key" in texts


def test_a_report_is_made_although_the_bytes_of_a_photo_are_missing(scene: Scene, office: Browser) -> None:
    inspection = make(scene, "Dock")
    photo_of(scene, scene.world.form_fill(inspection))
    (attachment,) = scene.world.all(Attachment)
    with scene.app.app_context():
        current_storage().delete(attachment.storage_key)
    assert office.get(f"/console/inspections/{inspection.id}/report.pdf").status_code == 200


def test_a_long_csv_takes_little_memory(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    line = tuple("x" * 40 for _ in pieces.inspection_heading(True))
    tracemalloc.start()
    try:
        size = sum(len(piece) for piece in tables._csv_pieces(line for _ in range(20_000)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 10_000_000
    assert peak < 2_000_000
