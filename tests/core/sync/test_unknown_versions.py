"""A version that the row never had overwrites nobody, and equal values are no conflict (contract, section 3.1)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete

from app.clock import to_wire
from app.core.database.engine import db
from app.core.ledger.unit import unit_of_work
from app.models import FormFill, FormTemplate, Inspection, LedgerEntry, User
from app.testing import push, sign_in, statements_of
from tests.conftest import SettableClock, World
from tests.core.sync.conftest import edit, stored
from tests.core.sync.test_own_changes import conflict_of, one
from tests.support.answers import json_of
from tests.support.cases import cases


@pytest.fixture
def theirs(other: FlaskClient, form_fill: FormFill, clock: SettableClock) -> FormFill:
    """The form fill, which somebody has changed a minute after it was made, a minute ago."""
    clock.forward(minutes=1)
    push(other, edit(form_fill, a="theirs"))
    clock.forward(minutes=1)
    return form_fill


def after(form_fill: FormFill, **period: float) -> str:
    return to_wire(form_fill.updated_at + timedelta(**period))


@cases("strategy", [None, "merge"])
@cases("period", [{"seconds": -1}, {"seconds": 1}, {"seconds": 122.001}, {"days": 365}])
def test_a_version_that_the_row_never_had_is_a_conflict_and_says_so(
    world: World, device: FlaskClient, theirs: FormFill, strategy: str | None, period: dict[str, float]
) -> None:
    """Before its first, between two, and ahead of the server's clock by more than two seconds."""
    results = push(device, edit(theirs, after(theirs, **period), strategy=strategy, a="mine", b="mine"))
    data = conflict_of(results)
    assert data["unknown_version"] is True
    assert (data["base_data"], data["conflicting_fields"]) == (None, ["a", "b"])
    assert "Send `updated_at` exactly as you received it" in results["conflicts"][0]["message"]
    assert stored(world, theirs) == {"a": "theirs", "b": 0}


@pytest.mark.parametrize("seconds", [61, 122])
def test_a_later_one_that_is_not_ahead_of_the_clock_applies_unless_a_merge_needs_it(
    world: World, device: FlaskClient, theirs: FormFill, seconds: float
) -> None:
    version = after(theirs, seconds=seconds)
    assert conflict_of(push(device, edit(theirs, version, strategy="merge", a="mine")))["unknown_version"] is True
    assert one(push(device, edit(theirs, version, a="mine")))["data"] == {"a": "mine", "b": 0}


@pytest.mark.parametrize(("strategy", "expected"), [("use_local", "mine"), ("use_server", "theirs")])
def test_local_and_server_decide_it_as_any_other(
    world: World, device: FlaskClient, theirs: FormFill, strategy: str, expected: str
) -> None:
    entry = one(push(device, edit(theirs, "2099-12-31T00:00:00Z", strategy=strategy, a="mine")))
    assert entry["message"].startswith("Conflict resolved with the ")
    assert entry["data"]["a"] == stored(world, theirs)["a"] == expected


def test_a_version_of_the_row_may_be_ahead_of_a_clock_that_went_back(
    device: FlaskClient, other: FlaskClient, theirs: FormFill, clock: SettableClock
) -> None:
    version = one(push(other, edit(theirs, a="theirs again")))["updated_at"]
    clock.forward(hours=-1)
    newer = one(push(device, edit(theirs, version, strategy="merge", a=2)))["updated_at"]
    push(other, edit(theirs, b=2))
    assert "unknown_version" not in conflict_of(push(device, edit(theirs, newer, b=3)))


def test_milliseconds_dropped_are_noticed_on_the_first_day(
    device: FlaskClient, other: FlaskClient, form_fill: FormFill, clock: SettableClock
) -> None:
    clock.forward(milliseconds=482)
    version = one(push(other, edit(form_fill, a=1)))["updated_at"]
    for strategy in (None, "merge"):
        data = conflict_of(push(device, edit(form_fill, version[:-5] + "Z", strategy=strategy, a=2)))
        # Without the milliseconds it is the version before.
        assert data["base_data"] == {"a": 0, "b": 0}
    clock.forward(milliseconds=700)
    version = one(push(other, edit(form_fill, a=3)))["updated_at"]
    assert conflict_of(push(device, edit(form_fill, version[:-5] + "Z", a=4)))["unknown_version"] is True


def test_a_version_from_before_what_was_pruned_is_not_said_to_be_wrong(
    app: Flask, device: FlaskClient, theirs: FormFill
) -> None:
    with app.app_context():
        unit_of_work(lambda _: db.session.execute(delete(LedgerEntry)))
    for strategy in (None, "merge"):
        data = conflict_of(push(device, edit(theirs, after(theirs), strategy=strategy, a="mine")))
        assert data["base_data"] is None
        assert "unknown_version" not in data


def test_a_patch_through_rest_is_judged_alike(
    office: FlaskClient, inspection: Inspection, clock: SettableClock
) -> None:
    def patch(version: str, notes: str) -> Any:
        return office.patch(f"/api/v1/inspections/{inspection.id}", json={"notes": notes, "updated_at": version})

    first = to_wire(inspection.updated_at)
    clock.forward(minutes=1)
    assert patch(to_wire(clock() + timedelta(seconds=2)), "n").status_code == 200
    clock.forward(minutes=1)
    for version in (to_wire(clock() + timedelta(seconds=3)), first.replace(":00.000", ":07.000")):
        answer = patch(version, "overwritten")
        assert (answer.status_code, answer.json["code"], answer.json["unknown_version"]) == (409, "stale", True)
        assert "exactly as you received it" in answer.json["message"]
        assert answer.json["data"]["inspection"]["notes"] == "n"
    stale = patch(first, "overwritten")
    assert stale.status_code == 409
    assert "unknown_version" not in stale.json


def test_a_patch_that_changes_nothing_is_a_success_on_any_version(
    world: World, office: FlaskClient, tech: User, inspection: Inspection, clock: SettableClock
) -> None:
    seen = to_wire(inspection.updated_at)
    clock.forward(minutes=1)
    changes = {"notes": "n", "job": "j", "property": {"city": "Berlin", "address": "A 1"}}
    rows: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        f"inspections/{inspection.id}": ("inspection", changes, {"notes": "n", "property": {"city": "Berlin"}}),
        f"users/{tech.id}": ("user", {"name": "New", "active": True}, {"name": "New"}),
    }
    for address, (name, first, again) in rows.items():
        changed = json_of(office.patch(f"/api/v1/{address}", json={**first, "updated_at": seen}))["data"][name]
        for version in (seen, "2099-12-31T00:00:00Z", "2020-01-01T00:00:00Z"):
            answer = office.patch(f"/api/v1/{address}", json={**again, "updated_at": version})
            assert (answer.status_code, json_of(answer)["data"]) == (200, {name: changed})
            other = office.patch(f"/api/v1/{address}", json={next(iter(again)): "other", "updated_at": version})
            assert other.status_code == 409


def test_a_patch_goes_on_from_ones_own_changes_and_from_nobody_elses(
    app: Flask, admin: User, device: FlaskClient, inspection: Inspection, clock: SettableClock
) -> None:
    desk = sign_in(app, admin, "0f5d2b5e-7c1a-4d7e-9b1f-0a4c3e2d1b00")
    url, seen = f"/api/v1/inspections/{inspection.id}", to_wire(inspection.updated_at)

    def patch(notes: str) -> int:
        clock.forward(minutes=1)
        return desk.patch(url, json={"notes": notes, "updated_at": seen}).status_code

    assert [patch("first"), patch("second")] == [200, 200], "the answer to the first may be lost"
    nowhere = desk.patch(url, json={"notes": "third", "updated_at": "2099-12-31T00:00:00Z"})
    assert (nowhere.status_code, json_of(nowhere)["unknown_version"]) == (409, True)
    push(device, {"type": "inspection", "local_id": "t", "data": {"id": inspection.id, "status": "in_progress"}})
    assert patch("third") == 409


# Nothing to decide


@cases("strategy", [None, "merge"])
@cases("version", ["of the row", "2099-12-31T00:00:00Z", "2020-01-01T00:00:00Z"])
def test_where_every_value_is_stored_already_there_is_nothing_to_decide(
    world: World, device: FlaskClient, theirs: FormFill, version: str, strategy: str | None
) -> None:
    version = after(theirs) if version == "of the row" else version
    before = world.get(FormFill, theirs.id).updated_at
    entry = one(push(device, edit(theirs, version, strategy=strategy, a="theirs", b=0.0)))
    assert (entry["data"], entry["updated_at"]) == ({"a": "theirs", "b": 0}, to_wire(before))
    assert world.get(FormFill, theirs.id).updated_at == before


def test_a_whole_form_that_changes_nothing_but_is_older_names_what_it_would_undo(
    device: FlaskClient, theirs: FormFill
) -> None:
    data = conflict_of(push(device, edit(theirs, after(theirs), a=0, b=0)))
    assert data["conflicting_fields"] == ["a"]


# Followers of a create that was refused


def create(inspection_id: object, client_id: str, **more: Any) -> dict[str, Any]:
    data = {"inspection_id": inspection_id, "form_template_id": 1, "client_id": client_id, **more}
    return {"type": "form_fill", "local_id": str(uuid4()), "data": data}


@cases(
    "fault",
    [{"inspection_id": 999}, {"inspection_id": "x"}, {"surprise": 1}, {"form_template_id": 999}],
)
def test_what_follows_a_refused_create_need_not_be_sent_again(
    device: FlaskClient, inspection: Inspection, fault: dict[str, Any]
) -> None:
    client_id = str(uuid4())
    refused = create(inspection.id, client_id.upper())
    refused["data"] |= fault
    _, entry, unrelated = push(device, refused, edit(client_id, a=1), edit(str(uuid4()), a=1))["errors"]
    assert (entry["code"], entry["retryable"]) == ("not_found", False)
    assert "Set this item aside" in entry["message"]
    assert unrelated["retryable"] is True
    assert "has not come yet" in unrelated["message"]


@cases(
    "fault",
    [{"made_at": "yesterday"}, {"meta": "Berlin"}, {"local_id": ""}, {"more": "\0"}],
)
def test_nor_need_what_follows_a_create_that_was_refused_at_the_first_look(
    device: FlaskClient, inspection: Inspection, fault: dict[str, Any]
) -> None:
    client_id = str(uuid4())
    refused = {**create(inspection.id, client_id.upper()), **fault}
    _, entry = push(device, refused, edit(client_id, a=1))["errors"]
    assert (entry["code"], entry["retryable"]) == ("not_found", False)


def test_what_comes_before_its_create_is_sent_again(device: FlaskClient, inspection: Inspection) -> None:
    client_id = str(uuid4())
    early, _ = push(device, edit(client_id, a=1), create(999, client_id))["errors"]
    assert early["retryable"] is True


def made_and_deleted(device: FlaskClient, office: FlaskClient, inspection: Inspection, template: FormTemplate) -> str:
    """The client_id of a form fill that the device has made, and that was deleted with its inspection."""
    client_id = str(uuid4())
    made = create(inspection.id, client_id, form_template_id=template.id)
    assert push(device, made)["success"]
    assert office.delete(f"/api/v1/inspections/{inspection.id}").status_code == 200
    return client_id


def test_what_names_a_deleted_row_by_its_client_id_need_not_be_sent_again(
    world: World, device: FlaskClient, office: FlaskClient, inspection: Inspection
) -> None:
    client_id = made_and_deleted(device, office, inspection, world.template())
    photo_delete = {"form_fill_id": client_id.upper(), "field_name": "F"}
    items = [edit(client_id, a=1), {"type": "photo_delete", "local_id": "d", "data": photo_delete}]
    *entries, unrelated = push(device, *items, edit(str(uuid4()), a=1))["errors"]
    for entry in entries:
        assert (entry["code"], entry["retryable"]) == ("not_found", False)
        assert "deleted" in entry["message"]
    assert unrelated["retryable"] is True


def test_a_new_create_of_a_deleted_row_is_waited_for(
    world: World, device: FlaskClient, office: FlaskClient, owner: User, tech: User, inspection: Inspection
) -> None:
    template = world.template()
    client_id = made_and_deleted(device, office, inspection, template)
    again = create(world.inspection(owner, tech).id, client_id, form_template_id=template.id)
    results = push(device, edit(client_id, a=1), again, edit(client_id, a=2))
    assert [(entry["index"], entry["retryable"]) for entry in results["errors"]] == [(0, True)]
    assert [entry["index"] for entry in results["success"]] == [1, 2]


def test_deleted_rows_are_looked_up_at_once_and_only_where_a_row_is_missing(
    app: Flask, world: World, device: FlaskClient, office: FlaskClient, owner: User, tech: User, inspection: Inspection
) -> None:
    def look_ups(*items: dict[str, Any]) -> int:
        with statements_of(app) as sent:
            push(device, *items)
        return sum("ledger_entries.client_id IS NOT NULL" in statement for statement in sent)

    template = world.template()
    gone = made_and_deleted(device, office, inspection, template)
    new = create(world.inspection(owner, tech).id, str(uuid4()), form_template_id=template.id)
    follower = edit(new["data"]["client_id"], a=1)
    assert [look_ups(new, follower), look_ups(new, follower), look_ups(follower)] == [0, 0, 0]
    assert look_ups(*(edit(name, a=1) for name in [gone, *(str(uuid4()) for _ in range(50))])) == 1


# A retry is known by its meaning


def test_a_retry_may_name_the_alias_and_write_its_numbers_otherwise(device: FlaskClient, form_fill: FormFill) -> None:
    item = edit(form_fill, a=2, b=[1.0, 2.50])
    push(device, item)
    again = {**item, "type": "form_fill_update", "data": {"id": form_fill.id, "changes": {"a": 2.0, "b": [1, 2.5]}}}
    entry = one(push(device, again))
    assert (entry["replayed"], entry["type"]) == (True, "form_fill_update")
    (changed,) = push(device, {**item, "data": {"id": form_fill.id, "changes": {"a": 2.5, "b": [1, 2.5]}}})["success"]
    assert "replayed" not in changed
