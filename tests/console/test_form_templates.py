"""The console's pages on form templates: the list, the preview, the designer and pasted JSON."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.models import FormTemplate
from app.testing import Scene, statements_of
from tests.pages.browser import Browser, Form, signed_in_browser
from tests.support.cases import cases

#: The statements of all pages run on both databases in `tests/pages/test_matrix.py`.
pytestmark = pytest.mark.database("sqlite")

LIST = "/console/form-templates"
NEW, AS_JSON = f"{LIST}/new", f"{LIST}/json"

STRUCTURE: list[dict[str, Any]] = [
    {"name": "Pressure_row_1", "type": "number", "label_name": "Pressure", "section_name": "Risers", "unit": "psi"},
    {"name": "Valve", "type": "select", "options": [{"value": 1, "label": "open"}, {"value": 2, "label": "shut"}, 7]},
    {"name": "Gauge", "type": "dial-of-ours", "private": True},
]


@pytest.fixture
def scene(app: Flask) -> Scene:
    return Scene(app)


@pytest.fixture
def office(scene: Scene) -> Browser:
    return signed_in_browser(scene.app, scene.user("admin"))


def templates(scene: Scene) -> list[Any]:
    """All form templates, oldest first."""
    return sorted(scene.world.all(FormTemplate), key=lambda template: template.id)


def press(browser: Browser, page: TestResponse, action: str, do: str, **typed: str) -> TestResponse:
    """Type something on a page of the designer and press one of its buttons."""
    form = Form(page.text, action)
    assert form.is_there
    return browser.post(action, form.fields | typed | {"do": do})


def labels(page: TestResponse, action: str) -> list[str]:
    """The labels in the designer's fields, in order."""
    fields = Form(page.text, action).fields
    return [fields[f"field-{place}-label_name"] for place in range(int(fields["count"]))]


def version_of(template: Any) -> str:
    """The address of the designer for a new version."""
    return f"{LIST}/{template.id}/new-version"


@pytest.mark.parametrize("who", ["technician", "owner"])
def test_only_administrators_open_and_send_them(scene: Scene, who: str) -> None:
    template = scene.world.template()
    browser = signed_in_browser(scene.app, scene.user(who))
    token = Form(browser.get("/my-account").text, "/sign-out").fields
    for address in (LIST, f"{LIST}/{template.id}", NEW, AS_JSON, version_of(template)):
        assert browser.get(address).status_code == 403, address
    for address in (NEW, AS_JSON, version_of(template)):
        assert browser.post(address, {**token, "name": "X", "do": "save"}).status_code == 403, address
    assert len(templates(scene)) == 1


def test_the_list_counts_fields_in_a_constant_number_of_statements(scene: Scene, office: Browser) -> None:
    scene.world.template(name="Riser <b>", form_structure=STRUCTURE)
    with statements_of(scene.app) as few:
        text = office.get(LIST).text
    assert "Riser &lt;b&gt;</a>" in text
    assert '<td data-label="Fields" class="fc-number">3</td>' in text
    assert not any("SELECT" in line and "form_structure AS" in line for line in few), "structures are not loaded"
    for number in range(60):
        scene.world.template(name=f"Pump {number}")
    with statements_of(scene.app) as many:
        text = office.get(LIST).text
    assert len(few) == len(many)
    (after,) = re.findall(r'rel="next" href="([^"]+)"', text)
    assert "Riser" not in text
    assert "Riser" in office.get(after).text
    assert "Pump" not in office.get(f"{LIST}?q=RISER").text


def test_the_list_shows_how_many_forms_there_are_of_each_template(scene: Scene, office: Browser) -> None:
    riser, _pump = scene.world.template(name="Riser"), scene.world.template(name="Pump")
    inspection = scene.world.inspection(scene.user("owner"))
    for _ in range(2):
        scene.world.form_fill(inspection, riser)
    text = office.get(LIST).text
    assert re.findall(r'<td data-label="Forms" class="fc-number">(\d+)</td>', text) == ["0", "2"]


def test_a_template_is_shown_as_a_phone_would_show_it(scene: Scene, office: Browser) -> None:
    template = scene.world.template(name="Riser", form_structure=STRUCTURE)
    text = office.get(f"{LIST}/{template.id}").text
    assert '<h3 class="h6 fc-section">Risers</h3>' in text
    assert re.search(
        r'>Pressure <span class="fp-muted">psi</span></label>\s*<input [^>]*id="preview-1-1" type="num', text
    )
    assert re.search(r">Gauge <span[^>]*>.*private</span></label>", text)
    assert "<option>open</option><option>shut</option><option>7</option>" in text
    assert office.get(f"{LIST}/999").status_code == 404


def test_buttons_change_the_page_and_store_nothing(scene: Scene, office: Browser) -> None:
    page = press(office, office.get(NEW), NEW, "add", **{"field-0-label_name": "A", "field-0-section_name": "Roof"})
    assert 'id="field-1-label_name"' in page.text
    assert re.search(r'id="field-1-label_name"[^>]* autofocus', page.text)
    assert Form(page.text, NEW).fields["field-1-section_name"] == "Roof"
    page = press(office, page, NEW, "add", **{"field-1-label_name": "B"})
    page = press(office, page, NEW, "up-2", **{"field-2-label_name": "C"})
    assert labels(page, NEW) == ["A", "C", "B"]
    assert re.search(r'id="field-1-up"[^>]* autofocus', page.text)
    page = press(office, page, NEW, "down-0")
    assert labels(page, NEW) == ["C", "A", "B"]
    page = press(office, page, NEW, "remove-1", name="Typed")
    assert labels(page, NEW) == ["C", "B"]
    assert Form(page.text, NEW).fields["name"] == "Typed"
    for nonsense in ("up-0", "down-1", "remove-9", "up-x", "jump"):
        assert labels(press(office, page, NEW, nonsense), NEW) == ["C", "B"], nonsense
    assert templates(scene) == []


def test_a_saved_form_is_a_new_template(scene: Scene, office: Browser) -> None:
    typed = {
        "field-0-label_name": "Valve (left) open?",
        "field-0-type": "select",
        "field-0-section_name": "Roof",
        "field-0-options": "yes\r\n\r\n no <b> \r\n",
        "field-0-unit": "turns",
        "field-0-private": "1",
    }
    answer = press(office, office.get(NEW), NEW, "save", name="Roof check", **typed)
    (template,) = templates(scene)
    assert (answer.status_code, answer.location) == (303, f"{LIST}/{template.id}")
    assert template.name == "Roof check"
    assert template.form_structure == [
        {
            "name": "Valve_left_open",
            "type": "select",
            "label_name": "Valve (left) open?",
            "section_name": "Roof",
            "unit": "turns",
            "private": True,
            "options": ["yes", "no <b>"],
        }
    ]
    page = office.get(answer.location or "").text
    assert "The form template is saved." in page
    assert "no &lt;b&gt;" in page


def test_a_new_version_keeps_all_that_was_not_changed(scene: Scene, office: Browser) -> None:
    older = scene.world.template(name="Riser", form_structure=STRUCTURE)
    address = version_of(older)
    press(office, office.get(address), address, "save")
    moved = press(office, office.get(address), address, "up-1")
    press(office, moved, address, "save", **{"field-0-options": "shut\r\nbroken"})
    first, same, changed = templates(scene)
    assert first.form_structure == same.form_structure == STRUCTURE
    options = [{"value": 2, "label": "shut"}, "broken"]
    assert changed.form_structure == [{**STRUCTURE[1], "options": options}, STRUCTURE[0], STRUCTURE[2]]


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"name": " "}, "name"),
        ({"field-0-name": "", "field-0-label_name": ""}, "field-0-name"),
        ({"field-1-name": "Pressure_row_1"}, "field-1-name"),
        ({"field-1-name": "Roof_photo_attachment_id"}, "field-1-name"),
        ({"field-0-label_name": "x" * 256}, "field-0-label_name"),
        ({"field-2-type": ""}, "field-2-type"),
        ({"field-0-unit": "x" * 65}, "field-0-unit"),
        ({"field-1-options": "\n".join(map(str, range(2001)))}, "field-1-options"),
        ({"count": "0"}, "form_structure"),
        ({"field-0-section_name": "a\x00b"}, "form_structure"),
    ],
)
def test_a_fault_leads_to_its_field_and_keeps_what_was_typed(
    scene: Scene, office: Browser, typed: dict[str, str], field: str
) -> None:
    address = version_of(scene.world.template(form_structure=STRUCTURE))
    answer = press(office, office.get(address), address, "save", **typed)
    assert answer.status_code == 422
    assert f'href="#{field}"' in answer.text
    assert f'id="{field}"' in answer.text
    assert f'id="{field}-faults"' in answer.text
    assert "count" in typed or typed.items() <= Form(answer.text, address).fields.items()
    assert len(templates(scene)) == 1


def test_the_designer_ends_at_its_limit_and_leads_larger_forms_to_json(scene: Scene, office: Browser) -> None:
    fields = [{"name": f"F{number}", "type": "text"} for number in range(201)]
    full = version_of(scene.world.template(form_structure=fields[:200]))
    refused = press(office, office.get(full), full, "add")
    assert (refused.status_code, len(labels(refused, full))) == (422, 200)
    large = scene.world.template(form_structure=fields)
    assert office.get(version_of(large)).location == f"{AS_JSON}?older={large.id}"
    page = office.get(f"{AS_JSON}?older={large.id}")
    assert json.loads(Form(page.text, AS_JSON).fields["form_structure"]) == fields


def test_a_structure_can_be_pasted(scene: Scene, office: Browser) -> None:
    typed = {"name": "Pasted", "form_structure": json.dumps(STRUCTURE)}
    preview = press(office, office.get(AS_JSON), AS_JSON, "show", **typed)
    assert preview.status_code == 200
    assert 'id="preview-1-1"' in preview.text
    assert templates(scene) == []
    assert press(office, preview, AS_JSON, "save").status_code == 303
    (template,) = templates(scene)
    assert (template.name, template.form_structure) == ("Pasted", STRUCTURE)


@cases(
    ("text", "message"),
    [
        ("[{", "This is not valid JSON."),
        ("", "This is not valid JSON."),
        ("{}", "Not a valid list."),
        ('[{"name": "A"}]', "0: type: Missing data for required field."),
        ('[{"name": "A\\u0000", "type": "text"}]', "form_structure"),
        ("[" * 100 + "]" * 100, "nested too deep"),
        ('[{"name": "A", "type": "text", "colour": "red"}]', "0: colour: Unknown field."),
    ],
)
def test_a_pasted_fault_is_named_and_the_text_is_kept(scene: Scene, office: Browser, text: str, message: str) -> None:
    answer = press(office, office.get(AS_JSON), AS_JSON, "save", name="N", form_structure=text)
    assert answer.status_code == 422
    assert message in answer.text
    assert Form(answer.text, AS_JSON).fields["form_structure"] == text
    assert templates(scene) == []
