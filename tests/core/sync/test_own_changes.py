"""One's own changes are never a conflict, whatever batch they came in (contract, section 3.1(3))."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import policies
from app.clock import to_wire
from app.models import FormFill, Inspection, LedgerOperation, User
from app.plugin_api import Context, Operation, Outcome, SyncHandler, by_id
from app.testing import push, sign_in, statements_of
from plugins.form_fills.schema import FormFillSchema
from tests.conftest import SettableClock, World
from tests.core.sync.conftest import edit, stored
from tests.core.sync.test_isolation import register
from tests.support.cases import cases

DEVICE_ID = "0f5d2b5e-7c1a-4d7e-9b1f-0a4c3e2d1b00"


@pytest.fixture
def phone(app: Flask, tech: User) -> FlaskClient:
    """The technician, on a phone that has named itself."""
    return sign_in(app, tech, DEVICE_ID)


@pytest.fixture
def held(form_fill: FormFill) -> str:
    """The version that everybody has downloaded."""
    return to_wire(form_fill.updated_at)


def one(results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The entry of the only item, which succeeded."""
    assert [len(entries) for entries in results.values()] == [1, 0, 0], results
    return results["success"][0]


def conflict_of(results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The data of the only item's conflict."""
    assert [len(entries) for entries in results.values()] == [0, 0, 1], results
    data: dict[str, Any] = results["conflicts"][0]["conflict_data"]
    return data


def made(item: dict[str, Any], minute: int, **more: Any) -> dict[str, Any]:
    """The item with the device's time, and further keys."""
    return {**item, "made_at": f"2024-03-15T09:{minute:02}:00.000Z", **more}


# Over batches


@pytest.mark.parametrize("strategy", [None, "merge", "use_local", "use_server"])
def test_a_second_edit_on_the_same_version_is_no_conflict_with_the_first(
    world: World, phone: FlaskClient, form_fill: FormFill, held: str, strategy: str | None
) -> None:
    push(phone, edit(form_fill, held, a=1))
    entry = one(push(phone, edit(form_fill, held, strategy=strategy, a=2)))
    assert entry["message"] == "FormFill updated successfully"
    assert entry["data"] == stored(world, form_fill) == {"a": 2, "b": 0}, "the answer of the first may be lost"


def test_a_chain_of_edits_sent_one_by_one_lifts_any_version_that_was_received(
    world: World, phone: FlaskClient, form_fill: FormFill, held: str, clock: SettableClock
) -> None:
    versions = [held]
    for number in range(1, 4):
        clock.forward(seconds=1)
        versions.append(one(push(phone, edit(form_fill, versions[0], a=number)))["updated_at"])
    for number, version in enumerate(versions, 4):
        one(push(phone, edit(form_fill, version, strategy="merge", a=number)))
    assert stored(world, form_fill)["a"] == 7


def test_edits_joined_after_a_lost_answer_apply(
    world: World, phone: FlaskClient, form_fill: FormFill, held: str
) -> None:
    push(phone, edit(form_fill, held, a=1))
    one(push(phone, edit(form_fill, held, strategy="merge", a=2, b=2)))
    assert stored(world, form_fill) == {"a": 2, "b": 2}


def test_a_row_made_here_may_be_edited_on_the_version_that_it_was_made_with(
    phone: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    ids = {"inspection_id": inspection.id, "form_template_id": form_fill.form_template_id, "client_id": str(uuid4())}
    create: dict[str, Any] = {"type": "form_fill", "local_id": "new", "data": {**ids, "data": {"a": 1}}}
    version = one(push(phone, create))["updated_at"]
    one(push(phone, edit(ids["client_id"], version, a=2)))
    one(push(phone, edit(ids["client_id"], version, a=3)))
    again = {**create, "local_id": "again", "data": {**ids, "data": {"a": 4}}}
    assert one(push(phone, again))["data"] == {"a": 4}


# A foreign change


@pytest.mark.parametrize("strategy", [None, "merge"])
def test_somebody_elses_change_after_ones_own_is_a_conflict(
    world: World, phone: FlaskClient, other: FlaskClient, form_fill: FormFill, held: str, strategy: str | None
) -> None:
    push(phone, edit(form_fill, held, a="mine"))
    push(other, edit(form_fill, a="theirs"))
    data = conflict_of(push(phone, edit(form_fill, held, strategy=strategy, a="mine again")))
    assert (data["base_data"], data["conflicting_fields"]) == ({"a": "mine", "b": 0}, ["a"])
    assert "unknown_version" not in data
    assert stored(world, form_fill)["a"] == "theirs"


@pytest.mark.parametrize("is_after", [False, True])
def test_a_merge_takes_ones_own_changes_for_a_part_of_the_base(
    world: World, phone: FlaskClient, other: FlaskClient, form_fill: FormFill, held: str, is_after: bool
) -> None:
    theirs, mine = edit(form_fill, b="theirs"), [edit(form_fill, held, strategy="merge", a=number) for number in (1, 2)]
    for client, items in [(phone, mine), (other, [theirs])][:: -1 if is_after else 1]:
        push(client, *items)
    entry = one(push(phone, edit(form_fill, held, strategy="merge", a="mine again")))
    assert entry["message"] == "Conflict merged"
    assert stored(world, form_fill) == {"a": "mine again", "b": "theirs"}


def test_ones_own_change_over_somebody_elses_does_not_hide_it(
    phone: FlaskClient, other: FlaskClient, form_fill: FormFill, held: str
) -> None:
    push(other, edit(form_fill, a="theirs"))
    push(phone, edit(form_fill, held, strategy="use_local", b="mine"))
    data = conflict_of(push(phone, edit(form_fill, held, a="mine")))
    assert (data["base_data"], data["conflicting_fields"]) == ({"a": 0, "b": "mine"}, ["a"])


def test_the_same_device_in_somebody_elses_hands_is_somebody_else(
    app: Flask, phone: FlaskClient, owner: User, form_fill: FormFill, held: str
) -> None:
    push(sign_in(app, owner, DEVICE_ID), edit(form_fill, held, a="theirs"))
    assert conflict_of(push(phone, edit(form_fill, held, a="mine")))["conflicting_fields"] == ["a"]


@pytest.mark.parametrize("device_id", [None, "0f5d2b5e-7c1a-4d7e-9b1f-0a4c3e2d1b11"])
def test_another_device_of_the_same_user_is_somebody_else(
    app: Flask, phone: FlaskClient, tech: User, form_fill: FormFill, held: str, device_id: str | None
) -> None:
    push(sign_in(app, tech, device_id), edit(form_fill, held, a="on the tablet"))
    assert conflict_of(push(phone, edit(form_fill, held, a="mine")))["conflicting_fields"] == ["a"]


def test_without_the_name_of_a_device_only_the_batch_counts(
    device: FlaskClient, form_fill: FormFill, held: str
) -> None:
    assert len(push(device, edit(form_fill, held, a=1), edit(form_fill, held, a=2))["success"]) == 2
    assert conflict_of(push(device, edit(form_fill, held, a=3)))["conflicting_fields"] == ["a"]


def test_a_device_restored_from_an_old_backup_sees_no_conflict_and_is_told_what_it_had(
    world: World, phone: FlaskClient, form_fill: FormFill, held: str
) -> None:
    later = one(push(phone, edit(form_fill, held, a="later", b="later")))["updated_at"]
    entry = one(push(phone, edit(form_fill, held, a="after the backup")))
    assert entry["updated_at"] > later
    assert entry["data"] == stored(world, form_fill) == {"a": "after the backup", "b": "later"}


# The device's time


def test_what_arrives_late_does_not_undo_newer_work_of_the_same_device(
    world: World, phone: FlaskClient, form_fill: FormFill, held: str
) -> None:
    push(phone, made(edit(form_fill, held, a="newer"), 30))
    entry = one(push(phone, made(edit(form_fill, held, a="older", b="older"), 20)))
    assert entry["data"] == stored(world, form_fill) == {"a": "newer", "b": "older"}
    entry = one(push(phone, made(edit(form_fill, held, a="older still"), 10)))
    assert (entry["data"], entry["message"]) == ({"a": "newer", "b": "older"}, "FormFill updated successfully")


def test_in_one_batch_too(world: World, device: FlaskClient, form_fill: FormFill, held: str) -> None:
    newer, older = made(edit(form_fill, held, a="newer"), 30), made(edit(form_fill, held, a="older", b=1), 20)
    known, surprising = push(device, newer, older)["success"]
    assert "data" not in known
    assert surprising["data"] == stored(world, form_fill) == {"a": "newer", "b": 1}


def test_what_was_repeated_counts_too(world: World, device: FlaskClient, form_fill: FormFill, held: str) -> None:
    newer = made(edit(form_fill, held, a="newer"), 30)
    push(device, newer)
    push(device, newer, made(edit(form_fill, held, a="older", b=1), 20))
    assert stored(world, form_fill) == {"a": "newer", "b": 1}


@pytest.mark.parametrize(("first", "second"), [(None, 20), (30, None), (None, None), (20, 30), (20, 20)])
def test_otherwise_arrival_decides(
    world: World, phone: FlaskClient, form_fill: FormFill, held: str, first: int | None, second: int | None
) -> None:
    for number, minute in enumerate((first, second)):
        item = edit(form_fill, held, a=number + 1)
        one(push(phone, item if minute is None else made(item, minute)))
    assert stored(world, form_fill)["a"] == 2


def test_without_a_version_arrival_decides_because_the_devices_clock_may_have_been_put_back(
    world: World, phone: FlaskClient, form_fill: FormFill
) -> None:
    push(phone, made(edit(form_fill, a="a clock ahead"), 30))
    one(push(phone, made(edit(form_fill, a="the clock put right"), 20)))
    assert stored(world, form_fill)["a"] == "the clock put right"


def test_what_changed_nothing_when_it_arrived_holds_nothing_back(
    world: World, phone: FlaskClient, form_fill: FormFill, held: str
) -> None:
    edited, undone = made(edit(form_fill, held, a=1), 10), made(edit(form_fill, held, a=0), 15)
    push(phone, undone)
    push(phone, edited)
    assert stored(world, form_fill)["a"] == 1
    # The app makes no new change of it, and a later one wins as usual.
    push(phone, made(edit(form_fill, held, a=0), 20))
    assert stored(world, form_fill)["a"] == 0


def test_a_change_on_the_newer_version_is_not_late_whatever_the_devices_clock_said(
    world: World, phone: FlaskClient, form_fill: FormFill, held: str
) -> None:
    version = one(push(phone, made(edit(form_fill, held, a="a clock ahead"), 59)))["updated_at"]
    late, right = made(edit(form_fill, held, b=1), 15), made(edit(form_fill, version, a="the clock put right"), 10)
    assert len(push(phone, late, right)["success"]) == 2
    assert stored(world, form_fill) == {"a": "the clock put right", "b": 1}


def test_the_devices_time_decides_nothing_between_people(
    world: World, phone: FlaskClient, other: FlaskClient, form_fill: FormFill, held: str
) -> None:
    push(other, made(edit(form_fill, held, a="theirs"), 10))
    data = conflict_of(push(phone, made(edit(form_fill, held, strategy="merge", a="mine"), 50)))
    assert data["conflicting_fields"] == ["a"]
    assert stored(world, form_fill)["a"] == "theirs"


def test_late_fields_take_no_part_in_a_conflict(
    world: World, phone: FlaskClient, other: FlaskClient, form_fill: FormFill, held: str
) -> None:
    push(phone, made(edit(form_fill, held, a="newer"), 30))
    push(other, edit(form_fill, a="theirs", b="theirs"))
    assert one(push(phone, made(edit(form_fill, held, a="older"), 20)))["data"] == {"a": "theirs", "b": "theirs"}
    data = conflict_of(push(phone, made(edit(form_fill, held, a="older", b="mine"), 20)))
    assert (data["conflicting_fields"], data["local_data"]) == (["b"], {"b": "mine"})
    one(push(phone, made(edit(form_fill, held, strategy="use_local", a="older", b="mine"), 20)))
    assert stored(world, form_fill) == {"a": "theirs", "b": "mine"}


# `made_at` and `meta` are kept


def test_they_are_shown_in_the_history_and_are_no_part_of_the_fingerprint(
    world: World, phone: FlaskClient, form_fill: FormFill
) -> None:
    meta = {"latitude": 52.5, "accuracy": 8, "app": "3.1.0"}
    item = edit(form_fill, a=1)
    push(phone, {**item, "made_at": "2024-03-15T10:00:00.1234+01:00", "meta": meta})
    assert one(push(phone, made(item, 40, meta=None)))["replayed"] is True
    push(phone, {**edit(form_fill, a=2), "made_at": None})
    history: Any = phone.get(f"/api/v1/form_fills/{form_fill.id}/history").json
    without, entry, _ = history["data"]["history"]
    assert (entry["made_at"], entry["meta"]) == ("2024-03-15T09:00:00.123Z", meta)
    assert (without["made_at"], without["meta"]) == (None, None)
    assert [each.meta for each in world.all(LedgerOperation) if each.door == "sync"] == [meta, None]


def test_they_outlive_another_items_fault(app: Flask, world: World, phone: FlaskClient, form_fill: FormFill) -> None:
    def fail(operation: Operation, context: Context) -> Outcome:
        raise RuntimeError

    common: dict[str, Any] = {"schema": FormFillSchema, "target": by_id(FormFill), "policy": policies.change}
    register(app, SyncHandler(type="failing", apply=fail, **common))
    guilty = {"type": "failing", "local_id": "x", "data": {"id": form_fill.id, "data": {"a": 2}}}
    results = push(phone, made(edit(form_fill, a=1), 30, meta={"x": 1}), guilty)
    assert (len(results["success"]), results["errors"][0]["code"]) == (1, "handler_failed")
    assert [each.meta for each in world.all(LedgerOperation) if each.made_at is not None] == [{"x": 1}]


@cases(
    ("key", "value"),
    [
        ("made_at", "yesterday"),
        ("made_at", 1710498600),
        ("made_at", "1999-12-31T23:59:59Z"),
        ("meta", []),
        ("meta", "x"),
        ("meta", {"a": "x" * 2041}),
    ],
)
def test_a_wrong_one_refuses_its_item_unless_it_was_applied_before(
    phone: FlaskClient, form_fill: FormFill, key: str, value: object
) -> None:
    item = edit(form_fill, a=1)
    (entry,) = push(phone, {**item, key: value})["errors"]
    assert (entry["code"], list(entry["details"])) == ("invalid", [key])
    push(phone, {**item, "meta": {"a": "x" * 2040}})
    assert one(push(phone, {**item, key: value}))["replayed"] is True


def test_unknown_keys_beside_data_are_ignored_but_not_in_it(phone: FlaskClient, form_fill: FormFill) -> None:
    item = {**edit(form_fill, a=1), "taken_by": {"name": "x"}}
    answer: Any = phone.post("/api/v1/sync", json={"sync_items": [item], "battery": 80}).json
    one(answer["results"])
    item["data"]["taken_at"] = "10:30"
    (entry,) = push(phone, item)["errors"]
    assert entry["details"] == {"taken_at": ["Unknown field."]}


# The cost


def test_a_fresh_version_costs_no_statement_and_an_old_one_the_same_for_any_number(
    app: Flask, world: World, phone: FlaskClient, form_fill: FormFill, held: str
) -> None:
    def statements(*items: dict[str, Any]) -> int:
        with statements_of(app) as sent:
            assert len(push(phone, *items)["success"]) == len(items)
        return len(sent)

    def version() -> str:
        return to_wire(world.get(FormFill, form_fill.id).updated_at)

    fresh = statements(edit(form_fill, held, a="first"))
    old = {statements(*[edit(form_fill, held, a=number) for number in range(size)]) for size in (1, 2, 100)}
    assert len(old) == 1, old
    assert statements(made(edit(form_fill, version(), a="last"), 30, meta={"x": 1})) == fresh
