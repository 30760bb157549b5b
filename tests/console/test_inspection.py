"""The console's page on one inspection: what it shows, to whom, its history, and corrections."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask

from app.clock import to_wire
from app.models import Attachment, FormFill, Inspection, User
from app.testing import Scene, push, sign_in, statements_of
from tests.conftest import SettableClock
from tests.pages.browser import Browser, Form, signed_in_browser
from tests.support.cases import cases
from tests.support.pictures import jpeg

#: The statements of all pages run on both databases in `tests/pages/test_matrix.py`.
pytestmark = pytest.mark.database("sqlite")

MARKUP = "<script>alert('x')</script>\"&"

STRUCTURE = [
    {"name": "Location_row_1", "type": "text", "label_name": "Location", "section_name": "Risers"},
    {"name": "Pressure_row_1", "type": "number", "label_name": "Pressure", "section_name": "Risers", "unit": "psi"},
    {"name": "Valve", "type": "select", "label_name": "Valve", "options": [{"value": 1, "label": "open"}, "shut"]},
    {"name": "Riser_Photo", "type": "photo", "label_name": "Photo of the riser"},
    {"name": "Signature", "type": "signature"},
]

DATA = {"Location_row_1": "Entrance", "Pressure_row_1": 85, "Valve": 1, "Location_row_2": "Roof"}


@pytest.fixture
def scene(app: Flask) -> Scene:
    return Scene(app)


@pytest.fixture
def form_fill(scene: Scene) -> FormFill:
    """A form fill of the scene's inspection, of a template named `Riser`."""
    template = scene.world.template(name="Riser", form_structure=STRUCTURE)
    return scene.world.form_fill(scene.inspection, template, data=DATA)


def browser_of(scene: Scene, who: str) -> Browser:
    return signed_in_browser(scene.app, scene.user(who))


def address(scene: Scene, rest: str = "") -> str:
    return f"/console/inspections/{scene.inspection.id}{rest}"


def correction(scene: Scene, form_fill: FormFill) -> str:
    return address(scene, f"/rows/form_fill/{form_fill.id}/correct")


def send_photo(scene: Scene, form_fill: FormFill, field: str = "Riser_Photo") -> str:
    """The technician uploads a photo; its id."""
    data = {"form_fill_id": str(form_fill.id), "field_name": field, "photo": (BytesIO(jpeg()), "riser.jpg")}
    answer = scene.client("technician").post("/api/v1/sync/upload_photo", data=data)
    assert answer.status_code == 200, answer.text
    return str(scene.world.all(Attachment)[-1].id)


def change(scene: Scene, who: str, form_fill: FormFill, **values: Any) -> None:
    """A device of the user changes the form fill."""
    item = {"type": "form_fill", "local_id": str(uuid4()), "data": {"id": form_fill.id, "changes": values}}
    assert push(scene.client(who), item)["success"]


def data_of(scene: Scene, form_fill: FormFill) -> Any:
    return scene.world.get(FormFill, form_fill.id).data


# What it shows


def test_a_form_is_shown_by_its_sections_with_labels_units_and_options(scene: Scene, form_fill: FormFill) -> None:
    page = browser_of(scene, "owner").get(address(scene)).text
    assert ">Riser</h3>" in page
    assert page.index(">Risers</h4>") < page.index(">Entrance<") < page.index(">Risers 2</h4>") < page.index(">Roof<")
    assert '>85</span> <span class="fp-muted">psi</span>' in page
    assert ">open</span>" in page
    assert "no photo" in page
    assert "not signed" in page
    assert "Technician" in page, "people have names"


def test_a_photo_is_shown_small_and_opens_large(scene: Scene, form_fill: FormFill) -> None:
    photo = send_photo(scene, form_fill)
    browser = browser_of(scene, "owner")
    page = browser.get(address(scene)).text
    assert f'<img src="/console/pictures/{photo}?small=1" alt="Photo of the riser"' in page
    large, small = browser.get(f"/console/pictures/{photo}"), browser.get(f"/console/pictures/{photo}?small=1")
    assert large.data == jpeg()
    assert (large.mimetype, small.mimetype) == ("image/jpeg", "image/jpeg")
    assert large.headers["Cache-Control"] == "private, no-cache"
    assert browser.get(f"/console/pictures/{photo}", {"If-None-Match": large.headers["ETag"]}).status_code == 304


@cases("rest", ["", "/history", "/rows/form_fill/1/correct", "/compare?entity=form_fill&key=1"])
def test_nobody_sees_anothers_inspection(scene: Scene, form_fill: FormFill, rest: str) -> None:
    photo = send_photo(scene, form_fill)
    for who in ("stranger", "unassigned"):
        browser = browser_of(scene, who)
        assert browser.get(address(scene, rest)).status_code == 404
        assert browser.get(f"/console/pictures/{photo}").status_code == 404
    assert Browser(scene.app).get(address(scene, rest)).status_code == 303


@pytest.mark.parametrize("who", ["admin", "owner", "technician"])
def test_those_who_may_see_it_may_correct_it(scene: Scene, form_fill: FormFill, who: str) -> None:
    browser = browser_of(scene, who)
    assert correction(scene, form_fill) in browser.get(address(scene)).text
    answer = browser.send(correction(scene, form_fill), correction(scene, form_fill), {"value.Location_row_1": "Left"})
    assert (answer.status_code, answer.location) == (303, f"{address(scene)}#row-form_fill-{form_fill.id}")
    assert data_of(scene, form_fill)["Location_row_1"] == "Left"
    assert "1 value was corrected." in browser.get(address(scene)).text


def test_markup_is_text_everywhere(scene: Scene) -> None:
    structure = [
        {"name": MARKUP, "type": "text", "label_name": MARKUP, "section_name": MARKUP},
        {"name": "n", "type": "number", "unit": MARKUP},
        {"name": "o", "type": "select", "options": [MARKUP]},
        {"name": f"{MARKUP}p", "type": "photo", "label_name": MARKUP},
    ]
    evil = scene.world.user("evil@example.com", "user", name=MARKUP)
    root = scene.world.inspection(
        evil, property={"property_name": MARKUP}, customer={"name": MARKUP}, notes=MARKUP, job=MARKUP
    )
    template = scene.world.template(name=MARKUP, form_structure=structure)
    form = scene.world.form_fill(root, template, data={MARKUP: MARKUP, "n": MARKUP, "o": MARKUP, "x": {MARKUP: MARKUP}})
    photo = scene.world.attachment(form, f"{MARKUP}p")
    item = {
        "type": "form_fill",
        "local_id": MARKUP,
        "meta": {MARKUP: MARKUP},
        "data": {"id": form.id, "changes": {MARKUP: f"{MARKUP}2"}},
    }
    push(sign_in(scene.app, evil), item)
    browser = signed_in_browser(scene.app, evil)
    base = f"/console/inspections/{root.id}"
    for place in (
        base,
        f"{base}/history",
        f"{base}/history?entity=form_fill&key={form.id}",
        f"{base}/compare?entity=form_fill&key={form.id}&older=1&newer=99",
        f"{base}/history?entity={MARKUP}&key={MARKUP}",
        f"{base}/rows/form_fill/{form.id}/correct",
        f"{base}/rows/inspection/{root.id}/correct",
    ):
        page = browser.get(place).text
        assert "<script>alert" not in page, place
        assert "alert(" in page, place
    assert photo.id in browser.get(base).text
    answer = browser.send(
        f"{base}/rows/form_fill/{form.id}/correct",
        f"{base}/rows/form_fill/{form.id}/correct",
        {f"value.{MARKUP}": "</textarea>" + MARKUP, "value.n": f"8{MARKUP}"},
    )
    assert answer.status_code == 422
    assert "<script>alert" not in answer.text
    assert escape("</textarea>" + MARKUP) in answer.text.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")


def test_a_panel_that_fails_leaves_the_table(
    scene: Scene, form_fill: FormFill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FormFill, "__entity__", replace(FormFill.__entity__, panel="no/such/panel.html"))
    page = browser_of(scene, "owner").get(address(scene))
    assert page.status_code == 200
    assert ">Entrance<" in page.text


def test_any_number_of_rows_takes_the_same_statements(scene: Scene, form_fill: FormFill) -> None:
    browser = browser_of(scene, "owner")
    template = scene.world.template()
    counts = []
    for number in (1, 12):
        for _ in range(number):
            scene.world.form_fill(scene.inspection, template)
            change(scene, "technician", form_fill, Location_row_1=str(uuid4()))
        for rest in ("", "/history"):
            browser.get(address(scene, rest))
            with statements_of(scene.app) as statements:
                assert browser.get(address(scene, rest)).status_code == 200
            counts.append(len(statements))
    assert counts[:2] == counts[2:]


def test_rows_of_one_entity_are_paged_by_key(scene: Scene) -> None:
    template = scene.world.template(name="Riser")
    forms = [scene.world.form_fill(scene.inspection, template) for _ in range(51)]
    browser = browser_of(scene, "owner")
    first = browser.get(address(scene)).text
    more = f"{address(scene)}?entity=form_fill&amp;after={forms[49].id}"
    assert more in first
    assert f'id="row-form_fill-{forms[50].id}"' not in first
    assert f'id="row-form_fill-{forms[50].id}"' in browser.get(more.replace("&amp;", "&")).text
    assert browser.get(f"{address(scene)}?entity=form_fill&after=x").status_code == 404
    assert browser.get(f"{address(scene)}?entity=form_fill&after={2**64}").status_code == 404


# History


def test_the_history_names_people_doors_times_and_values(scene: Scene, form_fill: FormFill) -> None:
    item = {
        "type": "form_fill",
        "local_id": "1",
        "made_at": "2024-03-15T09:00:00.000Z",
        "meta": {"accuracy": 8},
        "data": {"id": form_fill.id, "changes": {"Location_row_1": "Cellar", "Valve": "shut"}},
    }
    push(scene.client("technician"), item)
    page = browser_of(scene, "owner").get(address(scene, "/history")).text
    assert "<strong>Form filled</strong>" in page
    assert "Technician, by a device," in page
    assert "2024-03-15T09:00:00.000Z" in page
    assert "Accuracy: 8" in page
    assert "Risers · Location" in page
    assert "</span>Entrance</del>" in page
    assert "</span>Cellar</ins>" in page
    assert "</span>open</del>" in page


def test_the_history_goes_on_behind_fifty_changes(scene: Scene, form_fill: FormFill) -> None:
    for number in range(60):
        change(scene, "technician", form_fill, Location_row_1=f"floor {number}.")
    browser = browser_of(scene, "owner")
    first = browser.get(address(scene, f"/history?entity=form_fill&key={form_fill.id}")).text
    assert "floor 59." in first
    assert "floor 8." not in first
    (older,) = [part.split('"')[0] for part in first.split('rel="next" href="')[1:]]
    second = browser.get(older.replace("&amp;", "&")).text
    assert "floor 8." in second
    assert "floor 59." not in second
    for wrong in ("x", "1", "1.x", f"1.{2**64}"):
        assert browser.get(address(scene, f"/history?before={wrong}")).status_code == 404


def test_two_versions_of_a_row_are_compared(scene: Scene, form_fill: FormFill) -> None:
    for place in ("Cellar", "Attic", "Yard"):
        change(scene, "technician", form_fill, Location_row_1=place)
    browser = browser_of(scene, "owner")
    page = address(scene, f"/history?entity=form_fill&key={form_fill.id}")
    form = Form(browser.get(page).text, address(scene, "/compare"))
    assert form.is_there
    entries = [part.split('"')[0] for part in browser.get(page).text.split('<option value="')[1:]]
    newest, oldest = entries[0], entries[3]
    query = f"entity=form_fill&key={form_fill.id}&older={oldest}&newer={newest}"
    compared = browser.get(address(scene, f"/compare?{query}")).text
    assert ">Entrance</span>" in compared
    assert ">Yard</span>" in compared
    assert "Attic" not in compared
    same = browser.get(address(scene, f"/compare?entity=form_fill&key={form_fill.id}&older={newest}&newer={newest}"))
    assert "The two versions do not differ." in same.text


def test_a_row_of_another_inspection_has_no_history_here(scene: Scene, form_fill: FormFill) -> None:
    other = scene.world.inspection(scene.user("stranger"))
    browser = browser_of(scene, "stranger")
    base = f"/console/inspections/{other.id}"
    assert "Entrance" not in browser.get(f"{base}/history?entity=form_fill&key={form_fill.id}").text
    assert "Entrance" not in browser.get(f"{base}/compare?entity=form_fill&key={form_fill.id}&older=0&newer=99").text
    assert browser.get(f"{base}/rows/form_fill/{form_fill.id}/correct").status_code == 404


# Corrections


def test_only_values_that_differ_are_sent_and_numbers_are_numbers(scene: Scene, form_fill: FormFill) -> None:
    browser = browser_of(scene, "owner")
    page = correction(scene, form_fill)
    values = {"value.Pressure_row_1": "90,5", "value.Valve": '"shut"', "value.Location_row_2": ""}
    assert browser.send(page, page, values).status_code == 303
    assert data_of(scene, form_fill) == {
        "Location_row_1": "Entrance",
        "Pressure_row_1": 90.5,
        "Valve": "shut",
        "Location_row_2": "",
    }
    history = browser.get(address(scene, "/history")).text
    assert "Owner, corrected in the office," in history


def test_a_form_that_changes_nothing_writes_nothing(scene: Scene, form_fill: FormFill) -> None:
    browser = browser_of(scene, "owner")
    recorded = scene.world.recorded()
    assert browser.send(correction(scene, form_fill), correction(scene, form_fill)).status_code == 303
    assert scene.world.recorded() == recorded
    assert "Nothing was changed." in browser.get(address(scene)).text


def test_lines_of_a_text_are_no_change(scene: Scene, form_fill: FormFill) -> None:
    change(scene, "technician", form_fill, Location_row_1="one\ntwo\r\nthree")
    browser, recorded = browser_of(scene, "owner"), scene.world.recorded()
    page = correction(scene, form_fill)
    browser.send(page, page, {"value.Location_row_1": "one\r\ntwo\r\nthree"})
    assert scene.world.recorded() == recorded


@cases(
    ("values", "sentence"),
    [
        ({"value.Pressure_row_1": "8S"}, "Pressure: This is not a number."),
        ({"value.Pressure_row_1": "9" * 400}, "There is something to mend"),
        ({"value.Valve": '"ajar"'}, "Valve: Choose one of the options."),
        ({"value.Location_row_1": "a\0b"}, "There is something to mend"),
        ({"version": "yesterday"}, "There is something to mend"),
    ],
)
def test_a_refusal_says_why_and_keeps_what_was_typed(
    scene: Scene, form_fill: FormFill, values: dict[str, str], sentence: str
) -> None:
    page = correction(scene, form_fill)
    answer = browser_of(scene, "owner").send(page, page, {"value.Location_row_2": "Kept", **values})
    assert answer.status_code == 422
    assert sentence in answer.text
    assert 'value="Kept"' in answer.text
    assert data_of(scene, form_fill) == DATA


def test_the_schema_of_the_type_names_the_field(scene: Scene) -> None:
    page = address(scene, f"/rows/inspection/{scene.inspection.id}/correct")
    answer = browser_of(scene, "owner").send(page, page, {"value.status": ""})
    assert answer.status_code == 422
    assert '<a class="fp-fault" href="#field-0">Status: ' in answer.text
    assert scene.world.get(Inspection, scene.inspection.id).status == "pending"


def test_somebody_faster_is_shown_with_both_values_and_what_was_typed(
    scene: Scene, form_fill: FormFill, clock: SettableClock
) -> None:
    browser, page = browser_of(scene, "owner"), correction(scene, form_fill)
    opened = Form(browser.get(page).text, page).fields
    clock.forward(minutes=1)
    change(scene, "technician", form_fill, Location_row_1="Behind the door", Valve="shut")
    typed = {"value.Location_row_1": "Entrance, left", "value.Pressure_row_1": "90"}
    answer = browser.post(page, opened | typed)
    assert answer.status_code == 409
    assert "Somebody else was faster. Nothing was written." in answer.text
    assert "Technician, <time" in answer.text
    assert "<dd>Behind the door</dd>" in answer.text
    assert "<dd>Entrance</dd>" in answer.text
    again = Form(answer.text, page).fields
    assert (again["value.Location_row_1"], again["value.Pressure_row_1"]) == ("Entrance, left", "90")
    assert again["version"] == to_wire(scene.world.get(FormFill, form_fill.id).updated_at)
    assert data_of(scene, form_fill)["Location_row_1"] == "Behind the door"
    assert again["value.Valve"] == '"shut"', "what nobody else has typed is the present value"
    assert browser.post(page, again).status_code == 303
    assert data_of(scene, form_fill) == {
        **DATA,
        "Location_row_1": "Entrance, left",
        "Pressure_row_1": 90,
        "Valve": "shut",
    }


@pytest.fixture
def many_sided(scene: Scene) -> FormFill:
    """A form fill with a choice of several, a list and an object."""
    faults = {"name": "faults", "type": "multiselect", "options": [{"value": "r", "label": "rust"}, "leak", "dent"]}
    structure = [faults, {"name": "tools", "type": "checkbox", "options": ["saw"]}]
    data = {"faults": ["x", "r"], "readings": [80, 85.5], "extra": {"ä": None}}
    form_fill: FormFill = scene.world.form_fill(
        scene.inspection, scene.world.template(form_structure=structure), data=data
    )
    return form_fill


def test_of_a_choice_of_several_any_options_are_ticked(scene: Scene, many_sided: FormFill) -> None:
    browser, page = browser_of(scene, "owner"), correction(scene, many_sided)
    form = Form(browser.get(page).text, page).fields
    assert (form["value.faults"], "value.tools" in form) == (['"r"', '"x"'], False)
    answer = browser.send(page, page, {"value.faults": ['"dent"', '"leak"', '"r"']})
    assert answer.status_code == 303, answer.text
    assert data_of(scene, many_sided)["faults"] == ["r", "leak", "dent"], "in the order of the options"
    assert ">rust, leak, dent<" in browser.get(address(scene)).text
    browser.post(page, {**Form(browser.get(page).text, page).fields, "value.faults": [], "value.tools": '"saw"'})
    assert (data_of(scene, many_sided)["faults"], data_of(scene, many_sided)["tools"]) == ([], ["saw"])
    strange = browser.send(page, page, {"value.faults": '"rope"'})
    assert "Choose one of the options." in strange.text
    assert 'value="&#34;rope&#34;" checked' in strange.text


def test_lists_and_objects_are_corrected_as_json(scene: Scene, many_sided: FormFill) -> None:
    browser, page = browser_of(scene, "owner"), correction(scene, many_sided)
    answer = browser.send(page, page, {"value.readings": "[80, 90]", "value.extra": '{"ä": {"b": [true]}}'})
    assert answer.status_code == 303, answer.text
    data = data_of(scene, many_sided)
    assert (data["readings"], data["extra"]) == ([80, 90], {"ä": {"b": [True]}})


@cases("typed", ["[80,,]", "[NaN]", "[" * 5000, "9" * 5000, "[1e999]", '["\\u0000"]'])
def test_what_is_no_json_is_kept_and_told(scene: Scene, many_sided: FormFill, typed: str) -> None:
    browser, page = browser_of(scene, "owner"), correction(scene, many_sided)
    answer = browser.send(page, page, {"value.readings": typed})
    assert answer.status_code == 422
    assert "There is something to mend" in answer.text
    assert Form(answer.text, page).fields["value.readings"] == typed
    assert data_of(scene, many_sided)["readings"] == [80, 85.5]


def test_a_correction_without_the_forms_token_is_refused(scene: Scene, form_fill: FormFill) -> None:
    answer = browser_of(scene, "owner").post(correction(scene, form_fill), {"value.Location_row_1": "x"})
    assert answer.status_code == 403
    assert data_of(scene, form_fill) == DATA


def test_a_right_that_was_lost_meanwhile_counts(scene: Scene, form_fill: FormFill) -> None:
    browser, page = browser_of(scene, "technician"), correction(scene, form_fill)
    opened = Form(browser.get(page).text, page).fields
    body = {"assignee_id": None}
    scene.client("admin").patch(f"/api/v1/inspections/{scene.inspection.id}", json=body)
    assert browser.post(page, opened | {"value.Location_row_1": "x"}).status_code == 404
    assert data_of(scene, form_fill) == DATA


def test_a_long_text_can_be_corrected(scene: Scene) -> None:
    text = "word " * 160_000
    template = scene.world.template(form_structure=STRUCTURE)
    form_fill = scene.world.form_fill(scene.inspection, template, data={"Location_row_1": text})
    browser, page = browser_of(scene, "owner"), correction(scene, form_fill)
    assert text in browser.get(address(scene)).text
    assert browser.send(page, page, {"value.Location_row_1": f"{text}!"}).status_code == 303
    assert data_of(scene, form_fill)["Location_row_1"] == f"{text}!"


def test_the_inspection_leads_from_the_list(scene: Scene, admin: User) -> None:
    assert f'href="{address(scene)}"' in signed_in_browser(scene.app, admin).get("/console/inspections").text
