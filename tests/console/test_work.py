"""Work on inspections in the console: creating, assigning one or many, canceling and deleting."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from app.administration import assignments
from app.models import FormFill, Inspection, LedgerOperation
from app.testing import Scene
from tests.pages.browser import Browser, signed_in_browser

#: The statements of all pages run on both databases in `tests/pages/test_matrix.py`.
pytestmark = pytest.mark.database("sqlite")

LIST = "/console/inspections"
NEW = "/console/inspections/new"


@pytest.fixture
def scene(app: Flask) -> Scene:
    return Scene(app)


@pytest.fixture
def browser(scene: Scene) -> Browser:
    return signed_in_browser(scene.app, scene.user("admin"))


def make(scene: Scene, name: str = "Dock", **values: Any) -> int:
    """The id of a new inspection at a place of this name, which nobody has."""
    return int(scene.world.inspection(scene.user("owner"), property={"property_name": name}, **values).id)


def assignees(scene: Scene) -> list[int | None]:
    """Whom the inspections are assigned to, in the order in which they were made."""
    return [inspection.assignee_id for inspection in sorted(scene.world.all(Inspection), key=lambda row: row.id)]


class TestNew:
    def test_a_new_inspection_has_a_form_for_each_template(self, scene: Scene, browser: Browser) -> None:
        template = scene.world.template()
        values = {
            "date": "2026-12-01",
            "form_template_ids": str(template.id),
            "assignee_id": str(scene.user("technician").id),
            "owner_id": str(scene.user("owner").id),
            "interval_category": "monthly",
            "property.property_name": "Dock & Sons",
            "customer.name": "",
        }
        answer = browser.send(NEW, NEW, values)
        assert (answer.status_code, answer.location) == (303, LIST), answer.text
        page = browser.get(LIST).text
        assert "The inspection is created." in page
        assert "Dock &amp; Sons" in page
        (inspection,) = scene.world.all(Inspection)
        assert (str(inspection.date), inspection.owner_id) == ("2026-12-01", scene.user("owner").id)
        assert inspection.assignee_id == scene.user("technician").id
        assert inspection.customer is None
        assert [fill.form_template_id for fill in scene.world.all(FormFill)] == [template.id]
        assert scene.world.all(LedgerOperation)[-1].door == "page"

    def test_faults_are_named_and_what_was_typed_stays(self, scene: Scene, browser: Browser) -> None:
        answer = browser.send(NEW, NEW, {"date": "soon", "assignee_id": "999", "property.address": "x" * 256})
        assert answer.status_code == 422
        for name in ("date", "form_template_ids", "property.address"):
            assert f'href="#{name}"' in answer.text
            assert f'id="{name}-faults"' in answer.text
        assert "x" * 256 in answer.text
        template = scene.world.template()
        unknown = {"date": "2026-12-01", "form_template_ids": str(template.id), "assignee_id": "999"}
        assert "There is no active technician with this id." in browser.send(NEW, NEW, unknown).text
        assert scene.world.all(Inspection) == []


class TestAssign:
    def test_the_chosen_ones_go_to_a_technician(self, scene: Scene, browser: Browser) -> None:
        ids = [make(scene), make(scene), make(scene)]
        form = {"technician_id": str(scene.user("technician").id), "scope": "chosen"}
        token = browser.send(LIST, f"{LIST}/assign", {**form, "ids": str(ids[1])})
        assert (token.status_code, token.location) == (303, LIST)
        assert assignees(scene) == [None, scene.user("technician").id, None]
        page = browser.get(LIST).text
        assert '<p class="fp-card fp-notice" role="status">1 inspection is assigned.</p>' in page
        assert scene.world.all(LedgerOperation)[-1].type == "inspection_assign"

    def test_work_can_be_taken_back(self, scene: Scene, browser: Browser) -> None:
        inspection_id = make(scene, assignee=scene.user("technician"))
        browser.send(LIST, f"{LIST}/assign", {"technician_id": "none", "scope": "chosen", "ids": str(inspection_id)})
        assert assignees(scene) == [None]

    @pytest.mark.parametrize("technician", ["", "x", "0", "999", "1" * 30, "owner"])
    def test_nobody_but_an_active_technician_gets_work(self, scene: Scene, browser: Browser, technician: str) -> None:
        inspection_id = make(scene)
        form = {"technician_id": str(scene.user("owner").id) if technician == "owner" else technician}
        browser.send(LIST, f"{LIST}/assign", {**form, "scope": "chosen", "ids": str(inspection_id)})
        assert "Choose an active technician" in browser.get(LIST).text
        assert assignees(scene) == [None]

    def test_without_a_choice_nothing_is_assigned(self, scene: Scene, browser: Browser) -> None:
        make(scene)
        browser.send(LIST, f"{LIST}/assign", {"technician_id": "none", "scope": "chosen", "ids": ""})
        assert "Choose inspections first." in browser.get(LIST).text

    def test_all_that_match_are_assigned_after_the_number_was_confirmed(self, scene: Scene, browser: Browser) -> None:
        make(scene, "Dock 1"), make(scene, "Mill"), make(scene, "Dock 2")
        technician = scene.user("technician").id
        filtered = f"{LIST}?q=dock"
        answer = browser.send(filtered, f"{LIST}/assign?q=dock", {"technician_id": str(technician), "scope": "all"})
        assert answer.status_code == 303
        question = browser.get(str(answer.location))
        assert "All 2 inspections that match the filters go to Technician" in question.text
        assert assignees(scene) == [None] * 3, "it only asks"
        action = f"{LIST}/assign/all?technician_id={technician}&amp;q=dock".replace("&amp;", "&")
        done = browser.send(str(answer.location), action)
        assert (done.status_code, done.location) == (303, f"{LIST}?q=dock")
        assert assignees(scene) == [technician, None, technician]
        assert "2 inspections are assigned." in browser.get(filtered).text

    def test_another_number_is_asked_for_again(self, scene: Scene, browser: Browser) -> None:
        make(scene)
        technician = scene.user("technician").id
        page, action = f"{LIST}/assign?technician_id={technician}", f"{LIST}/assign/all?technician_id={technician}"
        answer = browser.send(page, action, {"count": "2"})
        assert answer.status_code == 409
        assert "Another number of inspections matches by now." in answer.text
        assert "1 inspection that matches the filters goes to" in answer.text
        assert assignees(scene) == [None]
        assert browser.send(page, action, {"count": "1"}).status_code == 303
        assert assignees(scene) == [technician]

    def test_a_wrong_filter_assigns_nothing(self, scene: Scene, browser: Browser) -> None:
        make(scene)
        page = f"{LIST}/assign?technician_id=none&date_from=soon"
        assert "No inspection matches any more." in browser.get(page).text

    def test_parts_that_fail_leave_the_parts_before(
        self, scene: Scene, browser: Browser, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(assignments, "CHUNK", 2)
        for _ in range(5):
            make(scene)
        technician = scene.user("technician")
        assign = assignments._assign
        calls: list[int] = []

        def leave(*arguments: Any) -> int:
            """The technician leaves after the first part."""
            calls.append(1)
            if len(calls) == 2:
                office = scene.client("admin")
                assert office.patch(f"/api/v1/users/{technician.id}", json={"active": False}).status_code == 200
            return assign(*arguments)

        monkeypatch.setattr(assignments, "_assign", leave)
        page, action = (
            f"{LIST}/assign?technician_id={technician.id}",
            f"{LIST}/assign/all?technician_id={technician.id}",
        )
        browser.send(page, action)
        assert assignees(scene) == [technician.id] * 2 + [None] * 3
        told = browser.get(LIST).text
        assert "2 inspections are assigned." in told
        assert "3 were not assigned: " in told

    def test_more_than_one_confirmation_can_bear_is_not_begun(
        self, scene: Scene, browser: Browser, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fieldpost_console.pages.assigning.MOST_AT_ONCE", 1)
        make(scene), make(scene)
        assert "More than 1 inspections match." in browser.get(f"{LIST}/assign?technician_id=none").text
        token = browser.send(LIST, f"{LIST}/assign", {"ids": ""})
        assert token.status_code == 303


class TestEnd:
    def test_canceling_asks_first_and_keeps_everything(self, scene: Scene, browser: Browser) -> None:
        inspection_id = make(scene)
        action = f"{LIST}/{inspection_id}/cancel"
        assert "Cancel the inspection?" in browser.get(action).text
        assert browser.send(action, action).location == LIST
        assert scene.world.all(Inspection)[0].status == "canceled"
        assert "The inspection is canceled." in browser.get(LIST).text

    def test_deleting_wants_the_name_typed(self, scene: Scene, browser: Browser) -> None:
        inspection_id = make(scene, "Dock <1>")
        scene.world.form_fill(scene.world.all(Inspection)[0])
        action = f"{LIST}/{inspection_id}/delete"
        assert "1 form and 0 photos" in " ".join(browser.get(action).text.split())
        answer = browser.send(action, action, {"name": "dock"})
        assert answer.status_code == 422
        assert "This is not the name." in answer.text
        assert len(scene.world.all(Inspection)) == 1
        assert browser.send(action, action, {"name": " Dock <1> "}).status_code == 303
        assert scene.world.all(Inspection) == []
        assert "Dock &lt;1&gt; is deleted." in browser.get(LIST).text

    @pytest.mark.parametrize("number", [999, 2**63, 2**70])
    def test_what_is_not_there_is_not_found(self, browser: Browser, number: int) -> None:
        assert browser.get(f"{LIST}/{number}/delete").status_code == 404


@pytest.mark.parametrize("who", ["owner", "technician"])
def test_only_administrators_do_any_of_it(scene: Scene, who: str) -> None:
    inspection_id = int(scene.inspection.id)
    browser = signed_in_browser(scene.app, scene.user(who))
    page = browser.get(LIST).text
    assert "New inspection" not in page
    assert "Assign to</label>" not in page
    for address in (NEW, f"{LIST}/assign?technician_id=none", f"{LIST}/{inspection_id}/delete"):
        assert browser.get(address).status_code == 403, address
    template = scene.world.template()
    attempts = {
        NEW: {"date": "2026-12-01", "form_template_ids": str(template.id)},
        f"{LIST}/assign": {"technician_id": "none", "scope": "chosen", "ids": str(inspection_id)},
        f"{LIST}/assign/all?technician_id=none": {"count": "1"},
        f"{LIST}/{inspection_id}/cancel": {},
        f"{LIST}/{inspection_id}/delete": {"name": f"Inspection {inspection_id}"},
    }
    before = len(scene.world.all(LedgerOperation))
    for address, values in attempts.items():
        token = {"csrf_token": token_of(browser)}
        assert browser.post(address, {**token, **values}).status_code == 403, address
        assert browser.post(address, values).status_code == 403, "without the form's token"
    assert len(scene.world.all(LedgerOperation)) == before


def token_of(browser: Browser) -> str:
    """The form token of the browser's session."""
    text = browser.get(LIST).text
    return text.partition('name="csrf_token" value="')[2].partition('"')[0]
