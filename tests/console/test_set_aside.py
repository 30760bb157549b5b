"""The pages on items that were not applied: the list by cause, one item, a conflict field by field, and decisions."""

from __future__ import annotations

import csv
import io
import re
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from fieldpost_console.pages import deciding_many
from fieldpost_console.pages.exports import set_aside as export
from flask import Flask

from app.clock import to_wire
from app.models import FormFill, SetAside
from app.testing import Scene, push, statements_of
from tests.conftest import SettableClock
from tests.pages.browser import Browser, Form, signed_in_browser
from tests.support.answers import json_of
from tests.support.cases import cases

#: The statements of all pages run on both databases in `tests/pages/test_matrix.py`.
pytestmark = pytest.mark.database("sqlite")

LIST, CONFLICTS = "/console/set-aside", "/console/conflicts"

EXPORT = "/console/exports/set-aside.csv"

#: The id in a row of a list.
ROW = r'data-row [^>]*href="[^"]+/([0-9a-f]+)"'

#: Filters that mean nothing: without them everything would match.
WRONG = ("outcome=nonsense", "state=gone", "user_id=x", "inspection_id=1e3", "code=%00", "cod=forbidden")

MARKUP = "<script>alert('x')</script>\"&"

STRUCTURE = [
    {"name": "Location", "type": "text", "label_name": "Location", "section_name": "Risers"},
    {"name": "Pressure", "type": "number", "label_name": "Static pressure", "unit": "psi"},
    {"name": "Valve", "type": "select", "label_name": "Valve", "options": [{"value": 1, "label": "open"}, "shut"]},
]

BASE = {"Location": "Entrance", "Pressure": 85, "Valve": 1}


@pytest.fixture
def scene(app: Flask) -> Scene:
    return Scene(app)


@pytest.fixture
def form_fill(scene: Scene) -> FormFill:
    template = scene.world.template(name="Riser", form_structure=STRUCTURE)
    return scene.world.form_fill(scene.inspection, template, data=BASE)


def browser_of(scene: Scene, who: str) -> Browser:
    return signed_in_browser(scene.app, scene.user(who))


def edit(form_fill: FormFill, version: str | None = None, **data: Any) -> dict[str, Any]:
    held = {} if version is None else {"updated_at": version}
    return {"type": "form_fill", "local_id": str(uuid4()), "data": {"id": form_fill.id, "data": data, **held}}


@pytest.fixture
def conflict(scene: Scene, form_fill: FormFill, clock: SettableClock) -> str:
    """The technician's change of Location and Pressure, after the owner's of Location and Valve; its id."""
    held = to_wire(form_fill.updated_at)
    clock.forward(minutes=1)
    push(scene.client("owner"), edit(form_fill, Location="Entrance, right", Valve="shut"))
    clock.forward(minutes=1)
    item = edit(form_fill, held, Location="Behind the door", Pressure=86, Valve=1)
    assert len(push(scene.client("technician"), item)["conflicts"]) == 1
    return key_of(scene, item)


@pytest.fixture
def lost(scene: Scene) -> FormFill:
    """A form fill of the owner's inspection that the technician may not change any more."""
    template = scene.world.template(name="Riser", form_structure=STRUCTURE)
    return scene.world.form_fill(scene.world.inspection(scene.user("owner")), template, data=BASE)


@pytest.fixture
def refusal(scene: Scene, lost: FormFill) -> str:
    """The technician's change of it; the id of the item."""
    item = edit(lost, Location="Basement", Pressure=80)
    assert push(scene.client("technician"), item)["errors"][0]["code"] == "forbidden"
    return key_of(scene, item)


def key_of(scene: Scene, item: dict[str, Any]) -> str:
    (key,) = [row.id for row in scene.world.all(SetAside) if row.local_id == item["local_id"]]
    return str(key)


def data_of(scene: Scene, row: FormFill) -> Any:
    return scene.world.get(FormFill, row.id).data


def checked(page: str) -> set[tuple[str, str]]:
    """The radio buttons that are chosen: name and value."""
    inputs = [tag for tag in page.split("<input") if 'type="radio"' in tag and " checked" in tag.split(">")[0]]
    return {(tag.split('name="')[1].split('"')[0], tag.split('value="')[1].split('"')[0]) for tag in inputs}


class TestList:
    def test_it_counts_causes_and_says_what_to_do(self, scene: Scene, conflict: str, refusal: str) -> None:
        page = browser_of(scene, "admin").get(LIST).text
        assert '<span class="fp-count" data-number="console.set_aside">2</span>' in page
        assert "Not authorized to update this form" in page
        assert "give the inspection back to the sender" in page
        assert f'href="{LIST}/{refusal}"' in page
        assert f'href="{CONFLICTS}/{conflict}"' in page

    def test_each_person_sees_theirs(self, scene: Scene, conflict: str, refusal: str) -> None:
        for who, seen in (("owner", {conflict, refusal}), ("technician", {conflict}), ("stranger", set())):
            browser = browser_of(scene, who)
            page = browser.get(LIST).text
            assert {key for key in (conflict, refusal) if key in page} == seen, who
            assert (conflict in browser.get(CONFLICTS).text) == (conflict in seen), who
            assert browser.get(f"{LIST}/{refusal}").status_code == (200 if refusal in seen else 404), who

    def test_filters_stand_in_the_address(self, scene: Scene, conflict: str, refusal: str) -> None:
        browser = browser_of(scene, "admin")
        technician = scene.user("technician").id
        for query, seen in (
            ("outcome=conflict", {conflict}),
            ("code=forbidden&type=form_fill", {refusal}),
            (f"user_id={technician}", {conflict, refusal}),
            (f"inspection_id={scene.inspection.id}", {conflict}),
            ("state=decided", set()),
            ("state=all&outcome=nonsense&user_id=x", {conflict, refusal}),
            ("code=%00", {conflict, refusal}),
        ):
            page = browser.get(f"{LIST}?{query}").text
            assert {key for key in (conflict, refusal) if key in page} == seen, query

    def test_pages_by_key_in_a_constant_number_of_statements(
        self, app: Flask, scene: Scene, lost: FormFill, conflict: str
    ) -> None:
        browser = browser_of(scene, "admin")
        counts = set()
        for _ in range(2):
            with statements_of(app) as statements:
                page = browser.get(LIST).text
            counts.add(len(statements))
            push(scene.client("technician"), *(edit(lost, Pressure=number) for number in range(60)))
        assert len(counts) == 1
        page = browser.get(LIST).text
        older = page.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
        first, second = (set(re.findall(ROW, text)) for text in (page, browser.get(older).text))
        assert (len(first), len(second), first & second) == (50, 50, set())
        assert browser.get(f"{LIST}?after=nothing").status_code == 400

    def test_the_menu_of_every_page_has_the_numbers_which_renew_themselves(
        self, app: Flask, scene: Scene, conflict: str, refusal: str, lost: FormFill
    ) -> None:
        for who, items, conflicts in (("admin", "2", "1"), ("owner", "2", "1"), ("stranger", "", "")):
            browser = browser_of(scene, who)
            for address in ("/console/inspections", "/my-account"):
                page = browser.get(address).text
                assert f'data-number="console.set_aside">{items}</span>' in page, (who, address)
                assert f'data-number="console.conflicts">{conflicts}</span>' in page, (who, address)
            answer = browser.get("/console/counts")
            assert json_of(answer) == {"console.set_aside": items, "console.conflicts": conflicts}
            assert browser.get("/console/counts", {"If-None-Match": answer.headers["ETag"]}).status_code == 304
        push(scene.client("technician"), *(edit(lost, Pressure=number) for number in range(100)))
        with statements_of(app) as statements:
            assert json_of(browser_of(scene, "owner").get("/console/counts"))["console.set_aside"] == "99+"
        assert sum("set_aside" in statement for statement in statements) == 1

    def test_an_item_of_an_unknown_type_is_shown_escaped(self, scene: Scene) -> None:
        item = {"type": "unheard_of", "local_id": "1", "data": {MARKUP: MARKUP}}
        push(scene.client("technician"), item)
        browser = browser_of(scene, "admin")
        assert "Install the plugin" in browser.get(LIST).text
        page = browser.get(f"{LIST}/{key_of(scene, item)}").text
        assert "alert(" in page
        assert "<script>alert" not in page


class TestItem:
    def test_it_shows_who_why_and_the_values(self, scene: Scene, refusal: str) -> None:
        page = " ".join(browser_of(scene, "admin").get(f"{LIST}/{refusal}").text.split())
        for text in ("Technician", "Not authorized to update this form", "Entrance", "Basement", "Static pressure"):
            assert text in page, text

    def test_it_is_applied_as_sent(self, scene: Scene, lost: FormFill, refusal: str) -> None:
        address = f"{LIST}/{refusal}"
        answer = browser_of(scene, "admin").send(address, address, {"decision": "apply", "why": "He was there"})
        assert (answer.status_code, answer.location) == (303, LIST)
        assert data_of(scene, lost) == {**BASE, "Location": "Basement", "Pressure": 80}
        assert scene.world.get(SetAside, refusal).reason == "He was there"

    def test_the_history_names_the_sender_and_the_one_who_decided(
        self, scene: Scene, lost: FormFill, refusal: str
    ) -> None:
        browser, address = browser_of(scene, "admin"), f"{LIST}/{refusal}"
        browser.send(address, address, {"decision": "apply"})
        history = f"/console/inspections/{lost.inspection_id}/history?entity=form_fill&key={lost.id}"
        newest = browser.get(history).text.split('<ol class="fc-history">')[1].split("</li>")[0]
        assert f"{scene.user('technician').name} (decided by {scene.user('admin').name})" in newest

    def test_it_is_applied_with_other_values_of_their_types(self, scene: Scene, lost: FormFill, refusal: str) -> None:
        address = f"{LIST}/{refusal}"
        answer = browser_of(scene, "owner").send(address, address, {"decision": "change", "value.Pressure": "82,5"})
        assert answer.status_code == 303
        assert data_of(scene, lost) == {**BASE, "Location": "Basement", "Pressure": 82.5}
        assert scene.world.get(SetAside, refusal).decision == "changed"

    def test_answers_that_were_sent_as_changes_are_fields_of_their_own(self, scene: Scene, lost: FormFill) -> None:
        data = {"id": lost.id, "changes": {"Location": "Basement", "Pressure": 80}}
        item = {"type": "form_fill", "local_id": "1", "data": data}
        push(scene.client("technician"), item)
        address = f"{LIST}/{key_of(scene, item)}"
        answer = browser_of(scene, "admin").send(address, address, {"decision": "change", "value.Pressure": "82"})
        assert answer.status_code == 303
        assert data_of(scene, lost) == {**BASE, "Location": "Basement", "Pressure": 82}

    def test_a_value_that_is_none_is_said_and_kept(self, scene: Scene, lost: FormFill, refusal: str) -> None:
        address = f"{LIST}/{refusal}"
        answer = browser_of(scene, "admin").send(address, address, {"decision": "change", "value.Pressure": "8S"})
        assert answer.status_code == 422
        assert "This is not a number." in answer.text
        assert Form(answer.text, address).fields["value.Pressure"] == "8S"
        assert data_of(scene, lost) == BASE

    def test_discarding_needs_a_reason(self, scene: Scene, lost: FormFill, refusal: str) -> None:
        browser, address = browser_of(scene, "admin"), f"{LIST}/{refusal}"
        token = Form(browser.get(address).text, address).fields
        answer = browser.post(address, token | {"decision": "discard", "reason": " "})
        assert (answer.status_code, "Say why" in answer.text) == (422, True)
        answer = browser.post(address, token | {"decision": "discard", "reason": "Sent twice"})
        assert answer.status_code == 303
        row = scene.world.get(SetAside, refusal)
        assert (row.decision, row.reason, data_of(scene, lost)) == ("discarded", "Sent twice", BASE)

    def test_somebody_was_faster(self, scene: Scene, refusal: str) -> None:
        address = f"{LIST}/{refusal}"
        browser = browser_of(scene, "admin")
        form = Form(browser.get(address).text, address).fields
        browser_of(scene, "owner").send(address, address, {"decision": "apply"})
        answer = browser.post(address, form | {"decision": "change", "value.Location": "Roof"})
        assert answer.status_code == 409
        assert "This was already decided by Owner" in answer.text
        assert Form(answer.text, address).fields["value.Location"] == "Roof"

    def test_a_change_since_it_was_seen_is_said_and_what_was_typed_is_kept(
        self, scene: Scene, lost: FormFill, refusal: str, clock: SettableClock
    ) -> None:
        address, browser = f"{LIST}/{refusal}", browser_of(scene, "admin")
        form = Form(browser.get(address).text, address).fields
        clock.forward(minutes=1)
        push(scene.client("owner"), edit(lost, Location="Garage"))
        answer = browser.post(address, form | {"decision": "change", "value.Location": "Roof"})
        assert (answer.status_code, "Garage" in answer.text) == (409, True)
        again = Form(answer.text, address).fields
        assert again["value.Location"] == "Roof"
        assert browser.post(address, again | {"decision": "change"}).status_code == 303
        assert data_of(scene, lost)["Location"] == "Roof"

    def test_who_may_not_decide_sees_no_button_and_is_refused(self, scene: Scene, conflict: str) -> None:
        browser = browser_of(scene, "technician")
        page = browser.get(f"{CONFLICTS}/{conflict}").text
        assert "Save the decision" not in page
        assert "An administrator or the owner of the inspection decides this." in page
        form = Form(page, f"{CONFLICTS}/{conflict}").fields
        choices = {f"choice.{name}": "device" for name in BASE}
        assert browser.post(f"{CONFLICTS}/{conflict}", form | choices | {"decision": "choose"}).status_code == 403
        discarding = {"decision": "discard", "reason": "mine"}
        assert browser.post(f"{LIST}/{conflict}", form | discarding).status_code == 403


class TestConflict:
    def test_fields_of_one_side_are_chosen_beforehand_and_the_others_not(self, scene: Scene, conflict: str) -> None:
        page = browser_of(scene, "owner").get(f"{CONFLICTS}/{conflict}").text
        assert checked(page) == {("choice.Pressure", "device"), ("choice.Valve", "server")}
        for text in ("Entrance, right", "Behind the door", "both have changed it", "shut"):
            assert text in page, text

    def test_each_field_becomes_what_was_chosen(self, scene: Scene, form_fill: FormFill, conflict: str) -> None:
        answer = decide(scene, conflict, Location="own", Pressure="device", Valve="server", typed="In the yard")
        assert (answer.status_code, answer.location) == (303, CONFLICTS)
        assert data_of(scene, form_fill) == {"Location": "In the yard", "Pressure": 86, "Valve": "shut"}

    def test_the_server_may_win_everywhere(self, scene: Scene, form_fill: FormFill, conflict: str) -> None:
        before = data_of(scene, form_fill)
        assert decide(scene, conflict, Location="server", Pressure="server", Valve="server").status_code == 303
        assert data_of(scene, form_fill) == before

    def test_the_device_may_win_everywhere(self, scene: Scene, form_fill: FormFill, conflict: str) -> None:
        assert decide(scene, conflict, Location="device", Pressure="device", Valve="device").status_code == 303
        assert data_of(scene, form_fill) == {"Location": "Behind the door", "Pressure": 86, "Valve": 1}

    def test_a_field_may_become_what_it_was_before(self, scene: Scene, form_fill: FormFill, conflict: str) -> None:
        assert decide(scene, conflict, Location="before", Pressure="before", Valve="before").status_code == 303
        assert data_of(scene, form_fill) == BASE

    def test_a_field_without_a_choice_is_said(self, scene: Scene, form_fill: FormFill, conflict: str) -> None:
        before = data_of(scene, form_fill)
        answer = decide(scene, conflict, Pressure="server", Valve="device")
        assert (answer.status_code, "Choose a value." in answer.text) == (422, True)
        assert checked(answer.text) == {("choice.Pressure", "server"), ("choice.Valve", "device")}
        assert data_of(scene, form_fill) == before

    def test_a_change_since_it_was_seen_comes_back_with_the_choices(
        self, scene: Scene, form_fill: FormFill, conflict: str, clock: SettableClock
    ) -> None:
        browser, address = browser_of(scene, "admin"), f"{CONFLICTS}/{conflict}"
        form = Form(browser.get(address).text, address).fields
        clock.forward(minutes=1)
        push(scene.client("owner"), edit(form_fill, Location="Garage"))
        choices = {"choice.Location": "own", "value.Location": "Roof", "choice.Pressure": "server"}
        answer = browser.post(address, form | choices | {"choice.Valve": "device", "decision": "choose"})
        assert (answer.status_code, "Garage" in answer.text) == (409, True)
        assert ("choice.Location", "own") in checked(answer.text)
        assert Form(answer.text, address).fields["value.Location"] == "Roof"
        assert data_of(scene, form_fill)["Location"] == "Garage"

    def test_somebody_was_faster_and_the_choices_are_kept(
        self, scene: Scene, form_fill: FormFill, conflict: str
    ) -> None:
        browser, address = browser_of(scene, "admin"), f"{CONFLICTS}/{conflict}"
        form = Form(browser.get(address).text, address).fields
        decide(scene, conflict, Location="server", Pressure="device", Valve="server")
        decided = data_of(scene, form_fill)
        choices = {"choice.Location": "own", "value.Location": "Roof", "choice.Pressure": "server"}
        answer = browser.post(address, form | choices | {"choice.Valve": "before", "decision": "choose"})
        assert answer.status_code == 409
        assert "This was already decided by Owner" in answer.text
        assert checked(answer.text) == {
            ("choice.Location", "own"), ("choice.Pressure", "server"), ("choice.Valve", "before"),
        }  # fmt: skip
        assert Form(answer.text, address).fields["value.Location"] == "Roof"
        assert "Save the decision" not in answer.text
        assert data_of(scene, form_fill) == decided

    def test_what_is_left_to_the_device_stays_open_until_the_device_has_solved_it(
        self, scene: Scene, form_fill: FormFill, conflict: str
    ) -> None:
        browser, address = browser_of(scene, "owner"), f"{CONFLICTS}/{conflict}"
        page = browser.get(address).text
        (link,) = re.findall(r'href="([^"]+)">Leave it to the device', page)
        assert browser.get(link).status_code == 200
        assert scene.world.get(SetAside, conflict).decision is None
        assert conflict in browser.get(CONFLICTS).text
        present = to_wire(scene.world.get(FormFill, form_fill.id).updated_at)
        assert push(scene.client("technician"), edit(form_fill, present, Location="Solved"))["success"]
        assert conflict not in browser.get(CONFLICTS).text
        page = browser.get(address).text
        assert "solved by the device" in page
        assert "Save the decision" not in page

    def test_it_leads_to_the_next_and_the_previous_one(
        self, scene: Scene, form_fill: FormFill, conflict: str, clock: SettableClock
    ) -> None:
        clock.forward(minutes=1)
        item = edit(form_fill, to_wire(form_fill.updated_at), Location="Roof")
        assert len(push(scene.client("technician"), item)["conflicts"]) == 1
        newer = key_of(scene, item)
        browser = browser_of(scene, "admin")
        page = browser.get(f"{CONFLICTS}/{newer}").text
        assert f'rel="next" href="{CONFLICTS}/{conflict}"' in page
        assert 'rel="prev"' not in page
        assert f'rel="prev" href="{CONFLICTS}/{newer}"' in browser.get(f"{CONFLICTS}/{conflict}").text

    def test_the_menu_leads_to_both_lists(self, scene: Scene) -> None:
        page = browser_of(scene, "technician").get(CONFLICTS).text
        assert f'href="{LIST}"' in page
        assert "There is no open conflict." in page


def decide(scene: Scene, key: str, typed: str = "", **choices: str) -> Any:
    """The owner sends the form of a conflict with these choices alone."""
    browser, address = browser_of(scene, "owner"), f"{CONFLICTS}/{key}"
    form = Form(browser.get(address).text, address).fields
    kept = {name: value for name, value in form.items() if not name.startswith("choice.")}
    chosen = {f"choice.{name}": choice for name, choice in choices.items()}
    return browser.post(address, kept | {"decision": "choose"} | chosen | ({"value.Location": typed} if typed else {}))


class TestMany:
    """Many items decided at once, from the list."""

    @pytest.fixture
    def keys(self, scene: Scene, lost: FormFill) -> list[str]:
        """Three refused items of the technician."""
        items = [edit(lost, Pressure=number) for number in (81, 82, 83)]
        push(scene.client("technician"), *items)
        return [key_of(scene, item) for item in items]

    def test_the_chosen_ones_are_applied_after_the_number_was_confirmed(
        self, scene: Scene, lost: FormFill, keys: list[str]
    ) -> None:
        browser = browser_of(scene, "owner")
        question = ask(browser, "", decision="apply", scope="chosen", ids=keys[:2])
        page = browser.get(question).text
        assert "2 items are applied as they were sent." in page
        assert data_of(scene, lost) == BASE, "it only asks"
        answer = confirm(browser, question, reason="He was there")
        assert answer.status_code == 200
        assert "2 of 2 are applied." in answer.text
        assert results_in(answer.text) == set(keys[:2])
        assert [scene.world.get(SetAside, key).decision for key in keys] == ["applied", "applied", None]
        assert scene.world.get(SetAside, keys[0]).reason == "He was there"
        assert data_of(scene, lost)["Pressure"] == 82

    def test_all_that_match_are_discarded_with_a_reason(self, scene: Scene, keys: list[str], conflict: str) -> None:
        browser = browser_of(scene, "admin")
        assert "Decide all 4 that match…" in browser.get(LIST).text
        question = ask(browser, "?code=forbidden", decision="discard", scope="all")
        assert "3 items are discarded: nothing of them is written." in browser.get(question).text
        missing = confirm(browser, question, reason=" ")
        assert (missing.status_code, "Say why" in missing.text) == (422, True)
        assert decisions(scene) == {None}
        answer = confirm(browser, question, reason="Sent twice")
        assert "3 of 3 are discarded." in answer.text
        assert decisions(scene) == {None, "discarded"}
        assert scene.world.get(SetAside, conflict).decision is None

    def test_another_number_is_asked_for_again(self, scene: Scene, lost: FormFill, keys: list[str]) -> None:
        browser = browser_of(scene, "admin")
        question = ask(browser, "", decision="discard", scope="all")
        form = form_of(browser.get(question).text)
        push(scene.client("technician"), edit(lost, Pressure=84))
        answer = browser.post(confirmed(question), form | {"reason": "Sent twice"})
        assert answer.status_code == 409
        assert "Another number of items matches by now." in answer.text
        assert form_of(answer.text)["count"] == "4"
        assert 'value="Sent twice"' in answer.text
        assert decisions(scene) == {None}

    def test_what_is_refused_again_says_why(self, scene: Scene, keys: list[str]) -> None:
        item = {"type": "unheard_of", "local_id": "1", "data": {}}
        push(scene.client("technician"), item)
        browser = browser_of(scene, "admin")
        answer = confirm(browser, ask(browser, "", decision="apply", scope="all"))
        assert "3 of 4 are applied." in answer.text
        refused = answer.text.split(key_of(scene, item))[1].split("</tr>")[0]
        assert "refused again" in refused
        assert scene.world.get(SetAside, key_of(scene, item)).error in refused

    def test_who_decides_nothing_sees_no_boxes_and_is_refused(
        self, scene: Scene, keys: list[str], conflict: str
    ) -> None:
        browser = browser_of(scene, "technician")
        page = browser.get(LIST).text
        assert conflict in page
        assert 'name="ids"' not in page
        assert "that match…" not in page
        question = f"{LIST}/decide?decision=discard&scope=chosen&ids={conflict}&ids={keys[0]}"
        assert "No open item that you may decide matches." in browser.get(question).text
        token = Form(browser.get("/my-account").text, "/sign-out").fields
        for count in ("0", "1", "2", "x"):
            answer = browser.post(confirmed(question), token | {"count": count, "reason": "mine"})
            assert answer.status_code in (200, 409)
            assert "No open item that you may decide matches." in answer.text
        assert decisions(scene) == {None}

    def test_a_form_without_a_token_decides_nothing(self, scene: Scene, keys: list[str]) -> None:
        question = f"{LIST}/decide?decision=discard&scope=all"
        answer = browser_of(scene, "admin").post(confirmed(question), {"count": "3", "reason": "Sent twice"})
        assert answer.status_code == 403
        assert decisions(scene) == {None}

    def test_without_a_choice_nothing_is_asked(self, scene: Scene, keys: list[str]) -> None:
        browser = browser_of(scene, "admin")
        assert ask(browser, "", decision="discard", scope="chosen") == LIST
        assert "Choose items first. Nothing was decided." in browser.get(LIST).text
        for query in ("decision=discard", "decision=discard&scope=chosen", "decision=discard&ids=%00"):
            assert "No open item that you may decide matches." in browser.get(f"{LIST}/decide?{query}").text, query
        assert "Choose in the list" in browser.get(f"{LIST}/decide?scope=all&decision=change").text

    @cases("query", WRONG)
    def test_a_filter_that_means_nothing_decides_nothing(self, scene: Scene, keys: list[str], query: str) -> None:
        browser = browser_of(scene, "admin")
        question = f"{LIST}/decide?decision=discard&scope=all&{query}"
        token = Form(browser.get("/my-account").text, "/sign-out").fields
        assert browser.get(question).status_code == 400
        assert browser.post(confirmed(question), token | {"count": "3", "reason": "x"}).status_code == 400
        assert decisions(scene) == {None}

    def test_more_than_are_decided_at_once_are_decided_in_parts(
        self, scene: Scene, keys: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deciding_many, "MOST_AT_ONCE", 2)
        page = browser_of(scene, "admin").get(f"{LIST}/decide?decision=apply&scope=all").text
        assert "More than 2 items match." in page


class TestExport:
    """The list as CSV."""

    def test_it_has_the_items_of_the_list_with_its_filters(
        self, scene: Scene, conflict: str, refusal: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(export, "AT_A_TIME", 1)
        for who, query, keys in (
            ("admin", "", [refusal, conflict]),
            ("owner", "?outcome=conflict", [conflict]),
            ("admin", "?state=decided", []),
            ("technician", "?state=all", [conflict]),
            ("stranger", "", []),
        ):
            lines = lines_of(browser_of(scene, who).get(f"{EXPORT}{query}"))
            assert sorted(line["id"] for line in lines) == sorted(keys), (who, query)
        (line,) = lines_of(browser_of(scene, "admin").get(f"{EXPORT}?code=forbidden"))
        assert (line["sender"], line["state"]) == (scene.user("technician").name, "open")
        assert line["error"] == "Not authorized to update this form"

    def test_the_page_leads_to_it_with_the_filters(self, scene: Scene, refusal: str) -> None:
        page = browser_of(scene, "admin").get(f"{LIST}?code=forbidden&type=").text
        assert f'href="{EXPORT}?code=forbidden"' in page

    @cases("query", [*WRONG, "after=x"])
    def test_a_filter_that_means_nothing_exports_nothing(self, scene: Scene, query: str) -> None:
        answer = browser_of(scene, "admin").get(f"{EXPORT}?{query}")
        assert answer.status_code == 400
        assert "These filters mean nothing" in answer.text


def lines_of(answer: Any) -> list[dict[str, str]]:
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    return list(csv.DictReader(io.StringIO(answer.get_data().decode("utf-8-sig"))))


def ask(browser: Browser, query: str, **values: Any) -> str:
    """Send the form of the list; returns where it leads."""
    answer = browser.send(f"{LIST}{query}", f"{LIST}/decide{query}", values)
    assert answer.status_code == 303
    return str(answer.location)


def confirmed(question: str) -> str:
    return question.replace("/decide?", "/decide/confirmed?")


def confirm(browser: Browser, question: str, **values: str) -> Any:
    """Answer the question with yes."""
    return browser.post(confirmed(question), form_of(browser.get(question).text) | values)


def form_of(page: str) -> dict[str, Any]:
    """The fields of the form that asks once more."""
    return Form(page, unescape(page.split('class="fp-card" method="post" action="')[1].split('"')[0])).fields


def results_in(page: str) -> set[str]:
    return set(re.findall(ROW, page))


def decisions(scene: Scene) -> set[str | None]:
    return {row.decision for row in scene.world.all(SetAside)}
