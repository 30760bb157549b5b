"""`GET /form_fills/:id/history` and its like: who, when, from where, before and after (contract, section 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.core.ledger import history as ledger_history
from app.models import FormFill, Inspection, LedgerEntry, User
from app.testing import push, sign_in
from tests.api.conftest import API
from tests.conftest import SettableClock, World
from tests.support.answers import json_of
from tests.support.cases import cases

DEVICE_ID = "0f5d2b5e-7c1a-4d7e-9b1f-0a4c3e2d1b00"


@pytest.fixture
def form_fill(world: World, inspection: Inspection) -> FormFill:
    return world.form_fill(inspection, data={"a": 0, "n": None})


def test_a_page_shows_as_many_changes_as_fit_and_says_where_they_are_cut(
    device: FlaskClient, form_fill: FormFill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_history, "PAGE_BYTES", 1000)
    for number in range(4):
        push(device, edit(form_fill, str(number), a="x" * 400 + str(number)))
    path = f"/form_fills/{form_fill.id}/history"
    page = history(device, path)
    assert [entry.get("is_cut", False) for entry in page] == [False, True, True, True, True]
    assert [entry["changes"] is None for entry in page] == [False, True, True, True, True]
    assert [entry["action"] for entry in page] == [*["change"] * 4, "create"], "heads are told in any case"
    alone = [history(device, f"{path}?per_page=1&page={number}")[0] for number in range(1, 6)]
    assert [entry["id"] for entry in alone] == [entry["id"] for entry in page]
    assert all(entry["changes"] for entry in alone)


@pytest.fixture
def device(world: World, tech: User) -> FlaskClient:
    return sign_in(world.app, tech, DEVICE_ID)


def history(client: FlaskClient, path: str) -> list[dict[str, Any]]:
    answer = client.get(API + path)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = json_of(answer)["data"]["history"]
    return found


def edit(form_fill: FormFill, local_id: str, **changes: Any) -> dict[str, Any]:
    return {"type": "form_fill", "local_id": local_id, "data": {"id": form_fill.id, "changes": changes}}


def test_a_sync_tells_who_when_from_which_device_and_each_field_before_and_after(
    device: FlaskClient, form_fill: FormFill, tech: User, clock: SettableClock
) -> None:
    clock.forward(minutes=1)
    push(device, edit(form_fill, "one", a=1, b=None, n=None))
    newest, first = history(device, f"/form_fills/{form_fill.id}/history")
    assert newest == {
        "id": newest["id"],
        "action": "change",
        "recorded_at": "2024-03-15T10:31:00.000Z",
        "user_id": tech.id,
        "device_id": DEVICE_ID,
        "door": "sync",
        "decided_by": None,
        "read_in_by": None,
        "type": "form_fill",
        "local_id": "one",
        "made_at": None,
        "meta": None,
        "version_before": "2024-03-15T10:30:00.000Z",
        "version_after": "2024-03-15T10:31:00.000Z",
        "changes": {"a": {"old": 0, "new": 1}, "b": {"new": None}},
    }
    assert (first["action"], first["version_before"]) == ("create", None)
    assert first["changes"]["a"] == {"new": 0}


def test_every_door_is_told_of(
    world: World, device: FlaskClient, office: FlaskClient, admin: User, inspection: Inspection, stranger: User
) -> None:
    body = {"assignee_id": stranger.id, "notes": "moved"}
    assert office.patch(f"{API}/inspections/{inspection.id}", json=body).status_code == 200
    newest = history(office, f"/inspections/{inspection.id}/history")[0]
    assert (newest["door"], newest["type"], newest["user_id"]) == ("rest", "inspection_change", admin.id)
    assert newest["changes"]["notes"] == {"old": None, "new": "moved"}
    assert newest["changes"]["assignee_id"]["new"] == stranger.id
    made = history(office, f"/inspections/{inspection.id}/history")[-1]
    assert (made["door"], made["user_id"], made["device_id"]) == ("cli", None, None)


def test_an_upload_and_a_delete_are_in_the_attachments_history(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    photo = world.attachment(form_fill)
    data = {"form_fill_id": form_fill.id, "field_name": "Riser_Photo"}
    push(device, {"type": "photo_delete", "local_id": "x", "data": data})
    # The row is only marked, so what happened to it can still be read.
    answer = device.get(f"{API}/entities/attachment/{photo.id}/history")
    assert [each["action"] for each in json_of(answer)["data"]["history"]] == ["delete", "create"]


def test_history_comes_in_pages_newest_first(device: FlaskClient, form_fill: FormFill) -> None:
    push(device, *[edit(form_fill, str(number), a=number) for number in range(1, 8)])
    url = f"{API}/form_fills/{form_fill.id}/history?per_page=3"
    pages: list[Any] = [json_of(device.get(f"{url}&page={page}"))["data"] for page in (1, 2, 3, 4)]
    assert [[each["local_id"] for each in page["history"]] for page in pages] == [
        ["7", "6", "5"],
        ["4", "3", "2"],
        ["1", None],
        [],
    ]
    assert {(page["total"], page["pages"]) for page in pages} == {(8, 3)}


@cases(
    "path",
    [
        *("/form_fills/4711/history", "/inspections/4711/history", "/entities/user/1/history"),
        *("/entities/x/1/history", "/entities/attachment/x/history"),
    ],
)
def test_no_history_of_what_is_not_there_or_not_below_an_inspection(office: FlaskClient, path: str) -> None:
    assert office.get(API + path).status_code == 404


@cases("path", ["form_fills/x", "inspections/x", "entities/form_fill/1.5", "entities/attachment/%00"])
def test_what_is_no_id_is_invalid(office: FlaskClient, path: str) -> None:
    answer = office.get(f"{API}/{path}/history")
    assert (answer.status_code, json_of(answer)["details"]) == (400, {"key": ["Not a valid id."]})


def test_history_is_for_those_who_may_read_the_row(world: World, stranger: User, form_fill: FormFill) -> None:
    client = sign_in(world.app, stranger)
    for path in (f"/form_fills/{form_fill.id}", f"/inspections/{form_fill.inspection_id}"):
        assert client.get(f"{API}{path}/history").status_code == 404


def test_of_what_was_deleted_administrators_can_still_ask_who_did_it_and_what_it_said(
    world: World, device: FlaskClient, office: FlaskClient, admin: User, owner: User, form_fill: FormFill
) -> None:
    push(device, edit(form_fill, "last", a="last words"))
    photo = world.attachment(form_fill)
    assert office.delete(f"{API}/inspections/{form_fill.inspection_id}").status_code == 200
    paths = {
        f"/inspections/{form_fill.inspection_id}": ["delete", "create"],
        f"/form_fills/{form_fill.id}": ["delete", "change", "create"],
        f"/entities/form_fill/{form_fill.id}": ["delete", "change", "create"],
        f"/entities/attachment/{photo.id}": ["delete", "create"],
    }
    for path, actions in paths.items():
        told = history(office, f"{path}/history")
        assert [each["action"] for each in told] == actions
        assert (told[0]["type"], told[0]["user_id"]) == ("inspection_delete", admin.id)
        for client in (device, sign_in(world.app, owner)):
            assert client.get(f"{API}{path}/history").status_code == 404
    deleted = history(office, f"/form_fills/{form_fill.id}/history")[0]
    assert deleted["changes"]["a"] == {"old": "last words"}
    assert deleted["version_after"] is None


def test_a_new_assignee_reads_what_happened_before_and_the_former_one_no_longer(
    world: World, device: FlaskClient, office: FlaskClient, form_fill: FormFill, stranger: User
) -> None:
    push(device, edit(form_fill, "one", a=1))
    path = f"/form_fills/{form_fill.id}/history"
    office.patch(f"{API}/inspections/{form_fill.inspection_id}", json={"assignee_id": stranger.id})
    assert [each["local_id"] for each in history(sign_in(world.app, stranger), path)] == ["one", None]
    assert device.get(API + path).status_code == 404


def test_history_of_a_form_made_offline_is_found_by_the_name_that_the_device_gave_it(
    device: FlaskClient, form_fill: FormFill
) -> None:
    client_id = "6B1F3C1E-3d0c-4c52-8a52-0d5f4e1f0003"
    place = {"inspection_id": form_fill.inspection_id, "form_template_id": form_fill.form_template_id}
    push(device, {"type": "form_fill", "local_id": "new", "data": {**place, "client_id": client_id}})
    assert [each["local_id"] for each in history(device, f"/form_fills/{client_id}/history")] == ["new"]


def test_users_have_no_history_here_so_that_nothing_of_a_password_is_told(
    world: World, office: FlaskClient, tech: User
) -> None:
    office.patch(f"{API}/users/{tech.id}", json={"password": "a new password for all"})
    assert office.get(f"{API}/entities/user/{tech.id}/history").status_code == 404
    entry = world.all(LedgerEntry)[-1]
    assert (entry.entity, entry.changes) == ("user", {"password_hash": {}}), "that it changed, and nothing else"


def test_a_page_takes_as_many_queries_whatever_is_on_it(
    device: FlaskClient, form_fill: FormFill, count_statements: Callable[[Callable[[], Any]], int]
) -> None:
    push(device, *[edit(form_fill, str(number), a=number) for number in range(1, 20)])
    url = f"{API}/form_fills/{form_fill.id}/history?per_page="
    assert count_statements(lambda: device.get(f"{url}1")) == count_statements(lambda: device.get(f"{url}20"))
