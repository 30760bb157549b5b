"""Batches through HTTP: the documentation's example, versions, conflicts, one's own chain, retries (contract, 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import ANY

import pytest
from flask.testing import FlaskClient

from app.clock import to_wire
from app.core.database.engine import db
from app.core.ledger.record import Origin, Recorder, record
from app.models import FormFill, Inspection, LedgerEntry, LedgerOperation, User
from app.testing import push
from tests.conftest import SettableClock, SignIn, World
from tests.core.sync.conftest import edit, stored
from tests.support.answers import json_of
from tests.support.cases import cases


def version_of(form_fill: FormFill) -> str:
    return to_wire(form_fill.updated_at)


# The documentation's example


@pytest.fixture
def example() -> dict[str, Any]:
    """The request of the documentation, word for word."""
    return {
        "sync_items": [
            {
                "type": "form_fill",
                "local_id": "local_123",
                "data": {
                    "id": 1,
                    "updated_at": "2024-03-15T10:30:00.000Z",
                    "data": {"Location_row_1": "Main Entrance"},
                },
            },
            {"type": "inspection", "local_id": "local_456", "data": {"id": 1, "status": "completed"}},
            {
                "type": "photo_delete",
                "local_id": "local_789",
                "data": {"form_fill_id": 1, "field_name": "Riser_Photo", "photo_attachment_id": "abc"},
            },
        ]
    }


def test_the_documentations_example_is_applied(
    world: World, device: FlaskClient, form_fill: FormFill, clock: SettableClock, example: dict[str, Any]
) -> None:
    clock.forward(minutes=5, seconds=22)
    answer = device.post("/api/v1/sync", json=example)
    assert answer.status_code == 200
    assert answer.json == {
        "success": True,
        "results": {
            "success": [
                {
                    "index": 0,
                    "local_id": "local_123",
                    "type": "form_fill",
                    "server_id": 1,
                    "message": "FormFill updated successfully",
                    "updated_at": "2024-03-15T10:35:22.000Z",
                },
                {
                    "index": 1,
                    "local_id": "local_456",
                    "type": "inspection",
                    "server_id": 1,
                    "message": "Inspection updated successfully",
                    "updated_at": "2024-03-15T10:35:22.000Z",
                    "data": {"status": "completed", "notes": None},
                },
                {
                    "index": 2,
                    "local_id": "local_789",
                    "type": "photo_delete",
                    "server_id": 1,
                    "message": "Photo deleted",
                    "result": {"deleted": 0},
                },
            ],
            "errors": [],
            "conflicts": [],
        },
        "synced_at": "2024-03-15T10:35:22.000Z",
        "generation": ANY,
        "message": "Sync completed: 3 successful, 0 errors, 0 conflicts",
    }
    assert stored(world, form_fill)["Location_row_1"] == "Main Entrance"
    assert world.get(Inspection, 1).status == "completed"


def test_the_documentations_example_conflicts_where_the_form_was_changed_meanwhile(
    world: World,
    device: FlaskClient,
    other: FlaskClient,
    form_fill: FormFill,
    clock: SettableClock,
    example: dict[str, Any],
) -> None:
    clock.forward(minutes=2)
    push(other, edit(form_fill, Location_row_1="Back door"))
    clock.forward(minutes=3)
    body = json_of(device.post("/api/v1/sync", json=example))
    assert body["message"] == "Sync completed: 2 successful, 0 errors, 1 conflicts"
    assert [entry["local_id"] for entry in body["results"]["success"]] == ["local_456", "local_789"]
    assert body["results"]["conflicts"] == [
        {
            "index": 0,
            "local_id": "local_123",
            "type": "form_fill",
            "success": False,
            "conflict": True,
            "server_id": 1,
            "message": "Version conflict detected",
            "conflict_data": {
                "server_version": "2024-03-15T10:32:00.000Z",
                "local_version": "2024-03-15T10:30:00.000Z",
                "server_data": {"a": 0, "b": 0, "Location_row_1": "Back door"},
                "local_data": {"Location_row_1": "Main Entrance"},
                "base_data": {"a": 0, "b": 0},
                "conflicting_fields": ["Location_row_1"],
                "server_form_structure": world.template().form_structure,
            },
        }
    ]
    assert stored(world, form_fill)["Location_row_1"] == "Back door"


# Versions


def test_the_same_moment_in_any_notation_is_the_same_version(device: FlaskClient, form_fill: FormFill) -> None:
    for notation in (
        "2024-03-15T10:30:00.000Z",
        "2024-03-15T10:30:00Z",
        "2024-03-15T10:30:00",
        "2024-03-15t10:30:00.0009z",
        "2024-03-15T16:00:00+05:30",
        "2024-03-14T20:30:00.000000-14:00",
    ):
        fresh = edit(form_fill, notation, a=0)
        assert "data" not in push(device, fresh)["success"][0], notation


@cases(
    "version",
    ["1999-12-31T23:59:59.999Z", "2100-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
     "2024-02-30T00:00:00Z", "2024-03-15", "15.3.2024", "", "now", 1710498600, 1710498600000, True, {}],
)  # fmt: skip
def test_a_version_outside_of_time_is_an_error_of_its_item(
    device: FlaskClient, form_fill: FormFill, version: Any
) -> None:
    results = push(device, edit(form_fill, version, a=1), edit(form_fill, a=2))
    (entry,) = results["errors"]
    assert (entry["code"], list(entry["details"])) == ("invalid", ["updated_at"])
    assert len(results["success"]) == 1


def test_versions_strictly_increase_though_time_stands_or_goes_back(
    sign_in: SignIn, tech: User, form_fill: FormFill, clock: SettableClock
) -> None:
    versions = [version_of(form_fill)]
    for hours in (0, -1, 0, 48, -72, 1):
        clock.forward(hours=hours)
        # Signed in anew: a token does not outlive these leaps.
        (entry,) = push(sign_in(tech), edit(form_fill, versions[-1], a=len(versions)))["success"]
        versions.append(entry["updated_at"])
    assert versions == sorted(set(versions))


def test_a_change_that_changes_nothing_succeeds_is_remembered_and_makes_no_version(
    world: World, device: FlaskClient, form_fill: FormFill, clock: SettableClock
) -> None:
    clock.forward(minutes=1)
    item = edit(form_fill, version_of(form_fill), a=0, b=0.0)
    (entry,) = push(device, item)["success"]
    assert entry["updated_at"] == version_of(form_fill)
    assert world.get(FormFill, form_fill.id).updated_at == form_fill.updated_at
    assert [each.action for each in world.all(LedgerEntry) if each.entity == "form_fill"] == ["create"]
    assert world.all(LedgerOperation)[-1].local_id == item["local_id"]
    assert push(device, item)["success"][0]["replayed"] is True


def test_true_is_not_1_and_null_is_not_absent(world: World, device: FlaskClient, form_fill: FormFill) -> None:
    for value in (1, True, 1.0, False, 0, None):
        before = world.get(FormFill, form_fill.id).updated_at
        push(device, edit(form_fill, a=value))
        assert repr(stored(world, form_fill)["a"]) == repr(value)
        assert world.get(FormFill, form_fill.id).updated_at > before
    push(device, edit(form_fill, c=None))
    assert stored(world, form_fill) == {"a": None, "b": 0, "c": None}


# Conflicts


def test_a_conflict_shows_nothing_of_the_server_to_whoever_may_not_read_it(
    world: World, sign_in: SignIn, other: FlaskClient, form_fill: FormFill
) -> None:
    push(other, edit(form_fill, a="secret"))
    stranger = sign_in(world.user("stranger@example.com", "technician"))
    for strategy in (None, "merge", "use_local", "use_server"):
        (entry,) = push(stranger, edit(form_fill, version_of(form_fill), strategy=strategy, a=1))["errors"]
        assert entry["code"] == "forbidden"
        assert entry["error"] == "Not authorized to update this form"
        assert "secret" not in str(entry)
    assert stored(world, form_fill)["a"] == "secret"


def test_an_unknown_older_version_is_a_conflict_without_a_base(
    device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    push(other, edit(form_fill, a=1))
    unknown = "2024-03-15T10:29:59.999Z"
    for strategy in (None, "merge"):
        (entry,) = push(device, edit(form_fill, unknown, strategy=strategy, b=1, a=1))["conflicts"]
        assert entry["conflict_data"]["base_data"] is None
        assert entry["conflict_data"]["conflicting_fields"] == ["b"]


def test_the_base_is_known_however_often_the_row_was_changed(
    device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    for number in range(1, 6):
        push(other, edit(form_fill, a=number, c=number))
    (entry,) = push(device, edit(form_fill, version_of(form_fill), a=9))["conflicts"]
    assert entry["conflict_data"]["base_data"] == {"a": 0, "b": 0}
    assert entry["conflict_data"]["server_data"] == {"a": 5, "b": 0, "c": 5}


@pytest.mark.parametrize("is_reversed", [False, True], ids=["oldest first", "newest first"])
def test_several_stale_items_of_one_row_each_have_the_base_of_their_own_version(
    device: FlaskClient, other: FlaskClient, form_fill: FormFill, is_reversed: bool
) -> None:
    held = {version_of(form_fill): {"a": 0, "b": 0}}
    for number in (1, 2, 3):
        (entry,) = push(other, edit(form_fill, a=number))["success"]
        held[entry["updated_at"]] = {"a": number, "b": 0}
    stale = [*held][:-1]
    sent = stale[::-1] if is_reversed else stale
    conflicts = push(device, *(edit(form_fill, version, a=9) for version in sent))["conflicts"]
    assert [entry["conflict_data"]["base_data"] for entry in conflicts] == [held[version] for version in sent]


def test_merge_takes_fields_that_only_one_side_changed(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    push(other, edit(form_fill, a=1))
    item = edit(form_fill, version_of(form_fill), strategy="merge", a=0, b=2, c=3)
    (entry,) = push(device, item)["success"]
    assert entry["data"] == stored(world, form_fill) == {"a": 1, "b": 2, "c": 3}
    assert entry["message"] == "Conflict merged"


def test_a_merge_with_nothing_left_to_set_makes_no_version(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    (theirs,) = push(other, edit(form_fill, a=1))["success"]
    (entry,) = push(device, edit(form_fill, version_of(form_fill), strategy="merge", a=1, b=0))["success"]
    assert (entry["updated_at"], entry["data"]) == (theirs["updated_at"], {"a": 1, "b": 0})


def test_merge_with_a_field_changed_on_both_sides_writes_nothing(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    push(other, edit(form_fill, a=1))
    (entry,) = push(device, edit(form_fill, version_of(form_fill), strategy="merge", a=2, b=2))["conflicts"]
    assert entry["conflict_data"]["conflicting_fields"] == ["a"]
    assert stored(world, form_fill) == {"a": 1, "b": 0}


@pytest.mark.parametrize("strategy", ["use_local", "use_server", "merge"])
def test_without_a_conflict_every_strategy_just_applies(
    world: World, device: FlaskClient, form_fill: FormFill, strategy: str
) -> None:
    (entry,) = push(device, edit(form_fill, version_of(form_fill), strategy=strategy, a=1))["success"]
    assert entry["message"] == "FormFill updated successfully"
    assert "data" not in entry
    assert stored(world, form_fill)["a"] == 1


def test_a_conflict_is_judged_afresh_on_every_retry(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    push(other, edit(form_fill, a=1))
    item = edit(form_fill, version_of(form_fill), a=2)
    for number in (3, 4):
        assert len(push(device, item)["conflicts"]) == 1
        push(other, edit(form_fill, a=number))
    assert push(device, item)["conflicts"][0]["conflict_data"]["server_data"]["a"] == 4


# One's own chain


def test_edits_of_one_row_in_one_batch_all_carry_the_version_the_device_held(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    held = version_of(form_fill)
    results = push(device, *(edit(form_fill, held, a=number) for number in range(1, 4)))
    assert results["conflicts"] == []
    versions = [entry["updated_at"] for entry in results["success"]]
    assert versions == sorted(set(versions)), "three versions"
    assert stored(world, form_fill)["a"] == 3


def test_one_edit_with_and_one_without_a_version_are_one_chain(device: FlaskClient, form_fill: FormFill) -> None:
    held = version_of(form_fill)
    results = push(device, edit(form_fill, a=1), edit(form_fill, held, a=2), edit(form_fill, held, b=2))
    assert len(results["success"]) == 3


def test_a_replayed_item_lifts_the_next_one(device: FlaskClient, form_fill: FormFill) -> None:
    held = version_of(form_fill)
    first = edit(form_fill, held, a=1)
    push(device, first)
    assert len(push(device, edit(form_fill, held, a=2))["conflicts"]) == 1, "alone it is a conflict with oneself"
    results = push(device, first, edit(form_fill, held, a=2))
    assert [entry.get("replayed") for entry in results["success"]] == [True, None]


def test_a_foreign_change_after_the_replayed_item_still_conflicts(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    held = version_of(form_fill)
    first = edit(form_fill, held, a=1)
    push(device, first)
    push(other, edit(form_fill, a=2))
    results = push(device, first, edit(form_fill, held, a=3))
    (replay,) = results["success"]
    assert replay["data"]["a"] == 2, "the pair is the row's present one"
    (entry,) = results["conflicts"]
    assert entry["conflict_data"]["base_data"] == {"a": 1, "b": 0}, "one's own change is part of the base"
    assert stored(world, form_fill)["a"] == 2


def test_a_foreign_change_between_two_replayed_items_still_conflicts(
    device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    held = version_of(form_fill)
    first, second = edit(form_fill, held, a=1), edit(form_fill, held, strategy="use_local", b=1)
    push(device, first)
    push(other, edit(form_fill, a=2))
    push(device, second)
    results = push(device, first, second, edit(form_fill, held, a=3))
    assert len(results["success"]) == 2
    assert len(results["conflicts"]) == 1


def test_use_local_over_a_foreign_change_does_not_lift_the_next_item_over_it(
    device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    held = version_of(form_fill)
    push(other, edit(form_fill, a=1))
    results = push(device, edit(form_fill, held, strategy="use_local", b=2), edit(form_fill, held, a=2))
    assert [entry["index"] for entry in results["success"]] == [0]
    assert [entry["index"] for entry in results["conflicts"]] == [1]


def test_a_merge_after_ones_own_change_in_the_batch_keeps_that_change(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    held = version_of(form_fill)
    push(other, edit(form_fill, c=1))
    results = push(
        device,
        edit(form_fill, held, strategy="merge", a=1),
        edit(form_fill, held, strategy="merge", a=2, b=2),
    )
    assert len(results["success"]) == 2
    assert stored(world, form_fill) == {"a": 2, "b": 2, "c": 1}


def test_a_refused_item_lifts_nothing(device: FlaskClient, other: FlaskClient, form_fill: FormFill) -> None:
    held = version_of(form_fill)
    push(other, edit(form_fill, a=1))
    assert len(push(device, edit(form_fill, held, a=2), edit(form_fill, held, a=3))["conflicts"]) == 2


# Retries


def test_a_retry_gets_the_first_success_with_the_present_pair(
    device: FlaskClient, other: FlaskClient, form_fill: FormFill, clock: SettableClock
) -> None:
    item = edit(form_fill, version_of(form_fill), a=1)
    (first,) = push(device, item)["success"]
    clock.forward(minutes=1)
    (theirs,) = push(other, edit(form_fill, a=2))["success"]
    clock.forward(minutes=1)
    (entry,) = push(device, item)["success"]
    assert entry == {
        **{key: first[key] for key in ("index", "local_id", "type", "server_id", "message")},
        "replayed": True,
        "first_applied_at": "2024-03-15T10:30:00.000Z",
        "updated_at": theirs["updated_at"],
        "data": {"a": 2, "b": 0},
    }


def test_a_retry_of_what_was_merged_or_dropped_keeps_its_message(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    push(other, edit(form_fill, a=1))
    held = version_of(form_fill)
    items = [edit(form_fill, held, strategy=each, b=5) for each in ("use_server", "merge", "use_local")]
    first = [push(device, item)["success"][0] for item in items]
    again = [push(device, item)["success"][0] for item in items]
    assert [entry["message"] for entry in again] == [entry["message"] for entry in first]
    assert all(entry["replayed"] for entry in again)
    assert stored(world, form_fill) == {"a": 1, "b": 5}


def test_a_retry_is_remembered_before_schema_policy_and_existence(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    item = edit(form_fill, a=1)
    push(device, item)
    delete(world, form_fill)
    (entry,) = push(device, item)["success"]
    assert (entry["replayed"], entry["server_id"]) == (True, form_fill.id)
    assert "updated_at" not in entry
    assert "data" not in entry
    (fresh,) = push(device, edit(form_fill, a=2))["errors"]
    assert (fresh["code"], fresh["retryable"]) == ("not_found", False)


def test_a_retry_shows_nothing_of_a_row_that_the_user_may_no_longer_read(
    world: World, device: FlaskClient, other: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    item = edit(form_fill, a=1)
    push(device, item)
    change(world, inspection, assignee_id=None)
    push(other, edit(form_fill, a="secret"))
    results = push(device, item, edit(form_fill, a=2))
    (entry,) = results["success"]
    assert entry["replayed"] is True
    assert "secret" not in str(results)
    assert results["errors"][0]["code"] == "forbidden"


def test_another_device_of_the_same_user_is_another_sender(
    world: World, sign_in: SignIn, tech: User, form_fill: FormFill
) -> None:
    item = edit(form_fill, a=1)
    devices = [f"6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f000{number}" for number in (1, 2)]
    for device_id in devices:
        assert "replayed" not in push(sign_in(tech, device_id), item)["success"][0]
    assert push(sign_in(tech, devices[0]), item)["success"][0]["replayed"] is True, "whatever sign-in"
    assert "replayed" not in push(sign_in(tech), item)["success"][0], "no device is one of its own"
    heads = [each.device_id for each in world.all(LedgerOperation) if each.door == "sync"]
    assert heads == [*devices, ""]


def test_a_whole_batch_again_changes_nothing(
    world: World, device: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    held = version_of(form_fill)
    items = [edit(form_fill, held, a=number) for number in range(5)]
    items += [{"type": "inspection", "local_id": "i", "data": {"id": inspection.id, "notes": "x"}}]
    push(device, *items)
    recorded = world.recorded()
    results = push(device, *items)
    assert all(entry["replayed"] for entry in results["success"])
    assert len({entry["updated_at"] for entry in results["success"][:5]}) == 1
    assert world.recorded() == recorded


# Ids


@cases(
    "row_id",
    [1.5, True, False, "1.5", "1e0", " 1", "+1", "\u0661", "abc", "", " ", [], {}, [1],
     2**53, 2**63, 2**64, 1e20, -(2**63), "9007199254740992", "9" * 20],)  # fmt: skip
def test_what_is_no_id_is_invalid(world: World, device: FlaskClient, form_fill: FormFill, row_id: Any) -> None:
    results = push(device, edit(row_id, a=1), edit(form_fill, b=1))
    (entry,) = results["errors"]
    assert entry["code"] == "invalid"
    assert stored(world, form_fill) == {"a": 0, "b": 1}


@cases("row_id", [0, -1, "0", "-1", 2**53 - 1, "9007199254740991", 9007199254740991.0])
def test_a_number_that_names_no_row_is_not_found(device: FlaskClient, row_id: Any) -> None:
    assert push(device, edit(row_id, a=1))["errors"][0]["code"] == "not_found"


@pytest.mark.parametrize("write", [float, str, "{}.0".format], ids=["11.0", "text", "text with a point"])
def test_an_id_may_be_a_number_of_any_kind_or_its_text(
    world: World, device: FlaskClient, form_fill: FormFill, write: Callable[[int], Any]
) -> None:
    place = {name: write(getattr(form_fill, name)) for name in ("inspection_id", "form_template_id")}
    change = edit(write(form_fill.id), a=1)
    change["data"] |= {**place, "form_fill_id": form_fill.id}
    results = push(device, change, {"type": "form_fill", "local_id": "new", "data": place})
    assert (len(results["success"]), results["errors"]) == (2, [])
    assert stored(world, form_fill)["a"] == 1
    created = world.get(FormFill, results["success"][1]["server_id"])
    assert created.inspection_id == form_fill.inspection_id


@cases("row_id", [None, ...])
def test_without_an_id_there_is_nothing_to_change(device: FlaskClient, form_fill: FormFill, row_id: Any) -> None:
    item = edit(form_fill, a=1)
    item["data"].pop("id")
    if row_id is None:
        item["data"]["id"] = None
    assert push(device, item)["errors"][0]["code"] == "invalid"


def test_an_id_is_never_given_twice(
    world: World, device: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    queued = edit(form_fill, version_of(form_fill), a=1)
    delete(world, form_fill)
    new = {"inspection_id": inspection.id, "form_template_id": form_fill.form_template_id}
    (created,) = push(device, {"type": "form_fill", "local_id": "c", "data": new})["success"]
    assert created["server_id"] > form_fill.id
    assert push(device, queued)["errors"][0]["code"] == "not_found"
    assert world.get(FormFill, created["server_id"]).data == {}


@cases(
    "key",
    ["inspection", "created_at", "form_template", "attachments", "deleted_at", "owner_id", "user_id", "__class__",
     "_sa_instance_state", "version", "message", "metadata"],
)  # fmt: skip
def test_a_payload_sets_nothing_but_what_it_may(
    world: World, device: FlaskClient, form_fill: FormFill, key: str
) -> None:
    item = edit(form_fill, a=1)
    item["data"][key] = 1
    (entry,) = push(device, item)["errors"]
    assert list(entry["details"]) == [key]
    after = world.get(FormFill, form_fill.id)
    assert (after.data, after.updated_at) == (form_fill.data, form_fill.updated_at)


def test_fields_may_be_called_anything_without_meaning_a_column(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    names = [
        "id",
        "inspection_id",
        "updated_at",
        "data",
        "client_id",
        "__class__",
        "",
        " ",
        "a.b",
        "$",
        "é😀",
        "x" * 999,
    ]
    changes: dict[str, Any] = dict.fromkeys(names, 1)
    push(device, edit(form_fill, **changes))
    after = world.get(FormFill, form_fill.id)
    assert after.data == {"a": 0, "b": 0, **dict.fromkeys(names, 1)}
    assert (after.id, after.inspection_id) == (form_fill.id, form_fill.inspection_id)


def delete(world: World, form_fill: FormFill) -> None:
    """Delete a form fill, as the office would."""
    with world.app.app_context():
        record(
            "test.delete",
            Origin(door="cli"),
            lambda recorder: recorder.delete(db.session.get_one(FormFill, form_fill.id)),
        )


def change(world: World, inspection: Inspection, **values: Any) -> None:
    """Change an inspection, as the office would."""

    def work(recorder: Recorder) -> None:
        recorder.change(recorder.session.get_one(Inspection, inspection.id), values)

    with world.app.app_context():
        record("test.change", Origin(door="cli"), work)
