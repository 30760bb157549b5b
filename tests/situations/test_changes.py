"""Situations of the field, in which other systems have lost, doubled or held back work: changes and conflicts.

Each test is one situation, with the right outcome; `test_register.py` has their names.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.clock import to_wire
from app.models import FormFill, FormTemplate, Inspection, User
from app.testing import push, sign_in
from tests.attachments.conftest import upload
from tests.conftest import SettableClock, SignIn, World
from tests.core.sync.conftest import edit, stored
from tests.support.answers import json_of

API = "/api/v1"
FIRST_INSTALLATION, SECOND_INSTALLATION = str(uuid4()), str(uuid4())


def set_inspection(inspection: Inspection, local_id: str | None = None, **data: Any) -> dict[str, Any]:
    """An item that changes an inspection."""
    return {"type": "inspection", "local_id": local_id or str(uuid4()), "data": {"id": inspection.id, **data}}


def create(inspection: Inspection, template: FormTemplate, client_id: str, **form: Any) -> dict[str, Any]:
    """An item that makes a form fill."""
    data = {"inspection_id": inspection.id, "form_template_id": template.id, "client_id": client_id, "data": form}
    return {"type": "form_fill", "local_id": str(uuid4()), "data": data}


def patched(office: FlaskClient, address: str, **changes: Any) -> None:
    """Let the office change a row."""
    assert office.patch(f"{API}/{address}", json=changes).status_code == 200


# The clock and the versions of a device


@pytest.mark.parametrize("strategy", [None, "merge"])
def test_a_device_whose_clock_is_ahead_overwrites_no_form(
    world: World,
    device: FlaskClient,
    other: FlaskClient,
    form_fill: FormFill,
    clock: SettableClock,
    strategy: str | None,
) -> None:
    push(other, edit(form_fill, a="theirs"))
    ahead = to_wire(clock() + timedelta(minutes=5))
    (entry,) = push(device, edit(form_fill, ahead, strategy=strategy, a="mine"))["conflicts"]
    assert entry["conflict_data"]["unknown_version"] is True
    assert "exactly as you received it" in entry["message"]
    assert stored(world, form_fill)["a"] == "theirs"


def test_a_device_whose_clock_is_ahead_overwrites_no_inspection(
    world: World, device: FlaskClient, office: FlaskClient, inspection: Inspection, clock: SettableClock
) -> None:
    patched(office, f"inspections/{inspection.id}", notes="the office's")
    ahead = to_wire(clock() + timedelta(minutes=5))
    (entry,) = push(device, set_inspection(inspection, notes="mine", updated_at=ahead))["conflicts"]
    assert entry["conflict_data"]["unknown_version"] is True
    answer = office.patch(f"{API}/inspections/{inspection.id}", json={"notes": "mine", "updated_at": ahead})
    assert (answer.status_code, json_of(answer)["unknown_version"]) == (409, True)
    assert world.get(Inspection, inspection.id).notes == "the office's"


def test_a_developer_whose_dates_drop_the_milliseconds_is_told_on_the_first_day(
    world: World, device: FlaskClient, inspection: Inspection, clock: SettableClock
) -> None:
    clock.forward(milliseconds=482)
    form_fill = world.form_fill(inspection)
    cut = to_wire(form_fill.updated_at)[:-5] + "Z"
    (entry,) = push(device, edit(form_fill, cut, strategy="merge", a=1))["conflicts"]
    assert entry["conflict_data"]["unknown_version"] is True
    assert "exactly as you received it" in entry["message"]


# An app that was installed again


def test_counted_ids_that_begin_again_after_a_reinstall_are_new_work(
    app: Flask, world: World, office: FlaskClient, tech: User, inspection: Inspection
) -> None:
    done = set_inspection(inspection, "local_1", status="completed")
    push(sign_in(app, tech, FIRST_INSTALLATION), done)
    patched(office, f"inspections/{inspection.id}", status="in_progress")
    (entry,) = push(sign_in(app, tech, SECOND_INSTALLATION), done)["success"]
    assert "replayed" not in entry
    assert world.get(Inspection, inspection.id).status == "completed"


def test_without_a_device_id_counted_ids_that_begin_again_are_taken_for_retries(
    app: Flask, world: World, office: FlaskClient, tech: User, inspection: Inspection
) -> None:
    """As a lost answer needs it: the next sign-in of a device without a name cannot be told from another device."""
    done = set_inspection(inspection, "local_1", status="completed")
    push(sign_in(app, tech), done)
    patched(office, f"inspections/{inspection.id}", status="in_progress")
    (entry,) = push(sign_in(app, tech), done)["success"]
    assert entry["replayed"] is True
    assert entry["data"]["status"] == "in_progress", "an app that takes what is answered shows it"
    assert world.get(Inspection, inspection.id).status == "in_progress"


def test_a_queue_that_a_reinstalled_app_sends_once_more_has_nothing_to_decide(
    app: Flask, world: World, tech: User, form_fill: FormFill
) -> None:
    item = edit(form_fill, to_wire(form_fill.updated_at), a="mine")
    (first,) = push(sign_in(app, tech, FIRST_INSTALLATION), item)["success"]
    (again,) = push(sign_in(app, tech, SECOND_INSTALLATION), item)["success"]
    assert again["updated_at"] == first["updated_at"], "no second version"
    assert again["data"] == stored(world, form_fill)


# Rights that come and go while work is queued


def test_work_that_was_queued_while_its_user_was_deactivated_is_applied_afterwards(
    app: Flask, world: World, office: FlaskClient, tech: User, device: FlaskClient, form_fill: FormFill
) -> None:
    item = edit(form_fill, to_wire(form_fill.updated_at), a="queued")
    patched(office, f"users/{tech.id}", active=False)
    answer = device.post(f"{API}/sync", json={"sync_items": [item]})
    assert (answer.status_code, json_of(answer)["code"]) == (401, "token_revoked")
    patched(office, f"users/{tech.id}", active=True)
    assert push(sign_in(app, tech), item)["success"]
    assert stored(world, form_fill)["a"] == "queued"


def test_work_on_an_inspection_that_went_to_somebody_else_waits_until_it_comes_back(
    world: World, office: FlaskClient, owner: User, tech: User, stranger: User, device: FlaskClient, form_fill: FormFill
) -> None:
    kept = world.form_fill(world.inspection(owner, tech))
    gone, more = edit(form_fill, a="queued"), edit(kept, a="queued")
    address = f"inspections/{form_fill.inspection_id}"
    patched(office, address, assignee_id=stranger.id)
    results = push(device, gone, more)
    assert [(entry["index"], entry["code"], entry["retryable"]) for entry in results["errors"]] == [
        (0, "forbidden", False)
    ]
    assert stored(world, kept)["a"] == "queued"
    patched(office, address, assignee_id=tech.id)
    assert push(device, gone)["success"]
    assert stored(world, form_fill)["a"] == "queued"


def test_work_on_a_deleted_inspection_is_set_aside_and_holds_back_nothing(
    world: World, office: FlaskClient, owner: User, tech: User, device: FlaskClient, form_fill: FormFill
) -> None:
    kept = world.form_fill(world.inspection(owner, tech))
    assert office.delete(f"{API}/inspections/{form_fill.inspection_id}").status_code == 200
    results = push(device, edit(form_fill, a=1), edit(kept, a=1))
    assert [(entry["code"], entry["retryable"]) for entry in results["errors"]] == [("not_found", False)]
    assert stored(world, kept)["a"] == 1
    photo = upload(device, form_fill)
    assert photo.status_code == 404
    assert "retryable" not in photo.json


def test_work_on_a_row_that_was_made_here_and_deleted_since_is_not_kept_for_ever(
    world: World, office: FlaskClient, device: FlaskClient, inspection: Inspection
) -> None:
    """The app knows the row by its client_id, so that its create could still be on the way."""
    client_id = str(uuid4())
    push(device, create(inspection, world.template(), client_id))
    assert office.delete(f"{API}/inspections/{inspection.id}").status_code == 200
    (entry,) = push(device, edit(client_id, a=1))["errors"]
    assert (entry["code"], entry["retryable"]) == ("not_found", False)
    photo = upload(device, client_id)
    assert photo.status_code == 404
    assert "retryable" not in photo.json


# Two people, one row


def test_a_list_that_two_people_have_changed_is_never_spliced(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    push(other, edit(form_fill, rooms=["hall"]))
    base = to_wire(world.get(FormFill, form_fill.id).updated_at)
    push(other, edit(form_fill, base, strategy="merge", rooms=["hall", "roof"], a="theirs"))
    mine = edit(form_fill, base, strategy="merge", rooms=["cellar", "hall"], a="mine")
    (entry,) = push(device, mine)["conflicts"]
    assert entry["conflict_data"]["conflicting_fields"] == ["a", "rooms"]
    assert stored(world, form_fill)["rooms"] == ["hall", "roof"]


def test_answers_to_a_form_that_the_office_has_replaced_are_kept_with_their_structure(
    world: World, office: FlaskClient, device: FlaskClient, form_fill: FormFill
) -> None:
    structure = [{"name": "only_in_the_new_one", "type": "text"}]
    new = {"name": "Sprinkler, second edition", "form_structure": structure}
    assert office.post(f"{API}/form_templates", json=new).status_code == 201
    assert push(device, edit(form_fill, a="answer", in_no_form="answer"))["success"]
    shown = json_of(device.get(f"{API}/form_fills/{form_fill.id}"))["data"]["form_fill"]
    assert (shown["data"]["a"], shown["data"]["in_no_form"]) == ("answer", "answer")
    assert shown["form_structure"] == world.get(FormTemplate, form_fill.form_template_id).form_structure


# Order, copies and faults of a queue


def test_two_refused_items_leave_the_two_others_applied_and_are_found_by_their_index(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    items = [edit(form_fill, a=1), edit(999, a=1), {"type": "unheard_of", "local_id": "u", "data": {}}]
    results = push(device, *items, edit(form_fill, b=1))
    assert [entry["index"] for entry in results["success"]] == [0, 3]
    assert [(entry["index"], entry["code"]) for entry in results["errors"]] == [(1, "not_found"), (2, "invalid_type")]
    assert stored(world, form_fill) == {"a": 1, "b": 1}


def test_a_create_and_its_photo_that_are_sent_ten_times_make_one_form_and_one_photo(
    world: World, device: FlaskClient, inspection: Inspection
) -> None:
    client_id = str(uuid4())
    item = create(inspection, world.template(), client_id, a=1)
    entries = [entry for _ in range(10) for entry in push(device, item)["success"]]
    photos = [upload(device, client_id, local_id="photo").json["photo_attachment_id"] for _ in range(5)]
    assert len({entry["server_id"] for entry in entries}) == len(set(photos)) == 1
    assert len(world.all(FormFill)) == 1
    attachments = json_of(device.get(f"{API}/form_fills/{client_id}/attachments"))["data"]["attachments"]
    assert [attachment["id"] for attachment in attachments] == photos[:1]


def test_children_that_come_before_their_parent_are_kept_and_applied_when_they_are_sent_again(
    world: World, device: FlaskClient, inspection: Inspection
) -> None:
    client_id = str(uuid4())
    delete = {"form_fill_id": client_id, "field_name": "Riser_Photo"}
    children = [
        edit(client_id, a="edited"),
        {"type": "photo_delete", "local_id": str(uuid4()), "data": delete},
    ]
    early = push(device, *children)["errors"]
    assert [(entry["code"], entry["retryable"]) for entry in early] == [("not_found", True)] * 2
    photo = upload(device, client_id)
    assert (photo.status_code, photo.json["retryable"]) == (404, True)
    results = push(device, create(inspection, world.template(), client_id, a="created"), *children)
    assert len(results["success"]) == 3
    assert upload(device, client_id).status_code == 200
    assert world.all(FormFill)[0].data == {"a": "edited"}


def test_half_an_emoji_refuses_its_item_and_an_odd_line_break_is_kept(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    results = push(device, edit(form_fill, a="cut \ud83d"), edit(form_fill, b="line\u2028break"))
    (entry,) = results["errors"]
    assert (entry["index"], entry["code"], entry["retryable"]) == (0, "invalid", False)
    assert entry["message"].startswith("data.changes.a")
    assert stored(world, form_fill) == {"a": 0, "b": "line\u2028break"}


# What an app learns from the answer


def test_a_batch_of_which_nothing_was_applied_says_so_beside_its_success(
    device: FlaskClient, form_fill: FormFill
) -> None:
    answer = json_of(device.post(f"{API}/sync", json={"sync_items": [edit(999, a=1)]}))
    assert answer["success"] is True, "the batch was read"
    assert answer["message"] == "Sync completed: 0 successful, 1 errors, 0 conflicts"
    assert answer["results"]["errors"][0]["message"]


class TestInABrowser:
    ORIGIN = "https://app.example.com"

    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return environment | {"FIELDPOST_CORS_ORIGINS": self.ORIGIN}

    def test_every_error_can_be_read_and_not_only_answers(self, app: Flask, tech: User, sign_in: SignIn) -> None:
        page, sync = sign_in(tech), f"{API}/sync"
        requests: dict[int, dict[str, Any]] = {
            400: {"path": sync, "method": "POST", "data": b"{", "content_type": "application/json"},
            401: {"path": sync, "method": "POST", "headers": {"Authorization": "Bearer old"}},
            404: {"path": f"{API}/nowhere"},
            405: {"path": sync, "method": "PUT"},
            410: {"path": f"{API}/sync/changes?cursor=old"},
            413: {"path": sync, "method": "POST", "json": {"sync_items": [{}] * 1001}},
            415: {"path": sync, "method": "POST", "data": b"x", "content_type": "text/plain"},
        }
        for status, request in requests.items():
            headers = {**request.pop("headers", {}), "Origin": self.ORIGIN}
            answer = page.open(**request, headers=headers)
            assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, self.ORIGIN)
            assert json_of(answer)["code"]
