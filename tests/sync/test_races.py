"""Two devices at the same moment, as real processes on one database (traps 1, 2, 25 and 28)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.clock import system_clock, to_wire
from app.models import FormFill, Inspection, LedgerEntry, LedgerOperation
from tests.conftest import World
from tests.sync.conftest import edit
from tests.sync.racers import increment, push_once, together


@pytest.fixture
def clock() -> Any:
    """The machine's own, as in the other processes."""
    return system_clock


def token_of(client: FlaskClient) -> str:
    return str(client.environ_base["HTTP_AUTHORIZATION"]).removeprefix("Bearer ")


def applied(world: World) -> list[LedgerOperation]:
    return [each for each in world.all(LedgerOperation) if each.door == "sync"]


def test_of_two_writes_on_one_version_one_applies_and_one_conflicts(
    environment: Mapping[str, str], world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    held = to_wire(form_fill.updated_at)
    batches = [[edit(form_fill, held, a=name)] for name in ("mine", "theirs")]
    tokens = [token_of(device), token_of(other)]
    results = together(push_once, [(environment, token, items) for token, items in zip(tokens, batches, strict=True)])
    outcomes = sorted((len(each["success"]), len(each["conflicts"]), len(each["errors"])) for each in results)
    assert outcomes == [(0, 1, 0), (1, 0, 0)]
    (winner,) = [name for name, each in zip(("mine", "theirs"), results, strict=True) if each["success"]]
    assert world.get(FormFill, form_fill.id).data["a"] == winner
    assert len(applied(world)) == 1
    (conflict,) = [each["conflicts"][0] for each in results if each["conflicts"]]
    assert conflict["conflict_data"]["server_data"]["a"] == winner


def test_four_times_a_hundred_increments_lose_nothing(
    environment: Mapping[str, str], world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    device.post("/api/v1/sync", json={"sync_items": [edit(form_fill, n=0)]})
    tokens = [token_of(device), token_of(other)] * 2
    conflicts = together(
        increment, [(environment, token, form_fill.id, f"p{number}", 100) for number, token in enumerate(tokens)]
    )
    assert world.get(FormFill, form_fill.id).data["n"] == 400
    assert sum(conflicts) >= 4, "each began on a version that was too old"
    changes = [each.changes["n"] for each in world.all(LedgerEntry) if "n" in each.changes]
    assert [each["new"] for each in changes] == list(range(401)), "the ledger tells every step, in order"
    versions = [each.version_after for each in world.all(LedgerEntry) if "n" in each.changes]
    assert versions == sorted(set(versions))


def test_one_batch_on_two_connections_is_applied_once_and_both_are_told_so(
    environment: Mapping[str, str],
    world: World,
    device: FlaskClient,
    inspection: Inspection,
    form_fill: FormFill,
) -> None:
    new = {"inspection_id": inspection.id, "form_template_id": form_fill.form_template_id, "data": {"x": 1}}
    items = [
        {"type": "form_fill", "local_id": "create", "data": new},
        edit(form_fill, to_wire(form_fill.updated_at), a=1),
        {"type": "inspection", "local_id": "i", "data": {"id": inspection.id, "status": "completed"}},
        {"type": "photo_delete", "local_id": "p", "data": {"form_fill_id": form_fill.id, "field_name": "x"}},
    ]
    results = together(push_once, [(environment, token_of(device), items)] * 2)
    assert [len(each["success"]) for each in results] == [4, 4]
    replayed = sorted([entry.get("replayed", False) for entry in each["success"]] for each in results)
    assert replayed == [[False] * 4, [True] * 4]
    first, second = ([entry["server_id"] for entry in each["success"]] for each in results)
    assert first == second
    assert len(world.all(FormFill)) == 2
    assert len(applied(world)) == 4


def test_batches_that_take_the_same_rows_in_another_order_do_not_block_each_other(
    app: Flask, environment: Mapping[str, str], world: World, device: FlaskClient, other: FlaskClient,
    inspection: Inspection,
) -> None:  # fmt: skip
    form_fills = [world.form_fill(inspection) for _ in range(10)]
    forwards = [edit(each, mine=1) for each in form_fills]
    backwards = [edit(each, theirs=1) for each in reversed(form_fills)]
    results = together(
        push_once, [(environment, token_of(device), forwards), (environment, token_of(other), backwards)]
    )
    assert [len(each["success"]) for each in results] == [10, 10]
    assert all(world.get(FormFill, each.id).data == {"mine": 1, "theirs": 1} for each in form_fills)
