"""Forgetting the oldest part of the ledger: a prefix, what retries need stays, cursors in it are refused."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from sqlalchemy import delete, event, update

from app import create_app
from app.clock import to_wire
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.core.ledger import prune as pruning
from app.core.ledger.unit import unit_of_work
from app.models import FormFill, LedgerEntry, LedgerOperation, LedgerState, User
from app.testing import push, sign_in
from tests.conftest import SettableClock, World
from tests.core.sync.racers import race
from tests.support.answers import json_of
from tests.support.cases import cases
from tests.support.databases import settle

KEPT = timedelta(days=400)


@pytest.fixture
def form_fill(world: World, tech: User) -> FormFill:
    return world.form_fill(world.inspection(tech), data={"a": 0})


def edit(form_fill: FormFill, local_id: str, version: str | None = None, **more: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"id": form_fill.id, "changes": {"a": local_id}, **more}
    return {"type": "form_fill", "local_id": local_id, "data": data | ({"updated_at": version} if version else {})}


def run(app: Flask, *arguments: str) -> Any:
    settle(app)
    return app.test_cli_runner().invoke(args=list(arguments))


def local_ids(world: World) -> list[str | None]:
    return [each.local_id for each in world.all(LedgerOperation) if each.door == "sync"]


def horizon(world: World) -> tuple[int, int]:
    state = world.get(LedgerState, 1)
    return state.pruned_xid, state.pruned_id


def position(row: Any) -> tuple[int, int]:
    return row.xid, row.id


@pytest.mark.parametrize("piece", [1, 2, 1000])
def test_what_is_older_goes_and_what_is_younger_stays(
    app: Flask, world: World, tech: User, form_fill: FormFill, clock: SettableClock, monkeypatch: Any, piece: int
) -> None:
    monkeypatch.setattr(pruning, "PIECE", piece)
    for name in ("one", "two", "three"):
        push(sign_in(app, tech), edit(form_fill, name))
        clock.forward(days=200)
    entries, operations = world.all(LedgerEntry), world.all(LedgerOperation)
    result = run(app, "ledger", "prune", "--keep", "400d")
    assert result.exit_code == 0, result.output
    assert local_ids(world) == ["two", "three"]
    kept = world.all(LedgerEntry)
    gone = entries[: -len(kept)]
    assert [each.id for each in kept] == [each.id for each in entries[-2:]]
    assert result.output == (
        f"removed {len(gone)} changes and {len(operations) - 2} operations from before {to_wire(clock() - KEPT)}\n"
    )
    assert horizon(world) == position(gone[-1])
    assert "removed 0 changes and 0 operations" in run(app, "ledger", "prune").output


def test_the_newest_row_always_stays(app: Flask, world: World, form_fill: FormFill, clock: SettableClock) -> None:
    newest = world.all(LedgerEntry)[-1].id
    clock.forward(days=1000)
    run(app, "ledger", "prune", "--keep", "400d")
    assert [each.id for each in world.all(LedgerEntry)] == [newest]
    assert len(world.all(LedgerOperation)) == 1


def test_only_a_prefix_goes_whatever_the_clock_said(
    app: Flask, world: World, tech: User, form_fill: FormFill, clock: SettableClock
) -> None:
    push(sign_in(app, tech), edit(form_fill, "old"))
    clock.forward(days=500)
    push(sign_in(app, tech), edit(form_fill, "new"))
    clock.forward(days=-500)
    push(sign_in(app, tech), edit(form_fill, "with the clock set back"))
    clock.forward(days=500)
    run(app, "ledger", "prune", "--keep", "400d")
    assert local_ids(world) == ["new", "with the clock set back"]


@cases("keep", ["179d", "0d", "-1d", "400", "1y", "", "d", "٤٠٠d"])
def test_less_than_retries_need_is_refused(app: Flask, world: World, form_fill: FormFill, keep: str) -> None:
    before = len(world.all(LedgerEntry))
    result = run(app, "ledger", "prune", "--keep", keep)
    assert result.exit_code == 2
    assert "--keep" in result.output
    assert len(world.all(LedgerEntry)) == before


def test_the_refusal_says_why(app: Flask) -> None:
    output = re.sub(r"\s+", " ", run(app, "ledger", "prune", "--keep", "179d").output)
    assert "179d is less than the 180 days for which devices may send again (FIELDPOST_RETRY_DAYS)" in output


def test_where_retries_need_more_more_is_kept(
    environment: dict[str, str], world: World, tech: User, form_fill: FormFill, clock: SettableClock
) -> None:
    app = create_app({**environment, "FIELDPOST_RETRY_DAYS": "500"}, clock)
    push(sign_in(app, tech), edit(form_fill, "old"))
    clock.forward(days=450)
    push(sign_in(app, tech), edit(form_fill, "new"))
    assert run(app, "ledger", "prune", "--keep", "400d").exit_code == 2
    assert "removed 0 changes and 0 operations" in run(app, "ledger", "prune").output
    clock.forward(days=51)
    assert run(app, "ledger", "prune").exit_code == 0
    assert local_ids(world) == ["new"]
    with app.app_context():
        db.engine.dispose()


def test_what_was_applied_within_the_limit_is_still_answered_as_a_retry(
    app: Flask, world: World, tech: User, form_fill: FormFill, clock: SettableClock
) -> None:
    clock.forward(days=1)
    item = edit(form_fill, "mine")
    push(sign_in(app, tech), item)
    clock.forward(days=180)
    push(sign_in(app, tech), edit(form_fill, "new"))
    run(app, "ledger", "prune", "--keep", "180d")
    assert local_ids(world) == ["mine", "new"]
    assert push(sign_in(app, tech), item)["success"][0]["replayed"] is True
    clock.forward(seconds=1)
    run(app, "ledger", "prune", "--keep", "180d")
    assert local_ids(world) == ["new"]
    assert "replayed" not in push(sign_in(app, tech), item)["success"][0], "what was forgotten is a new operation"


def test_a_merge_against_a_pruned_base_is_a_plain_conflict(
    app: Flask, world: World, tech: User, form_fill: FormFill, clock: SettableClock
) -> None:
    base = to_wire(form_fill.updated_at)
    clock.forward(days=1)
    push(sign_in(app, tech), edit(form_fill, "theirs"))
    clock.forward(days=500)
    world.inspection(tech)
    run(app, "ledger", "prune")
    results = push(sign_in(app, tech), edit(form_fill, "mine", base, resolve_strategy="merge"))
    (conflict,) = results["conflicts"]
    assert conflict["conflict_data"]["base_data"] is None
    assert conflict["conflict_data"]["conflicting_fields"] == ["a"]
    assert world.get(FormFill, form_fill.id).data == {"a": "theirs"}


def test_a_merge_over_a_gap_is_a_plain_conflict(
    app: Flask, world: World, tech: User, form_fill: FormFill, clock: SettableClock
) -> None:
    """On PostgreSQL a row's later version may stand in an earlier transaction, and be pruned first."""
    base = to_wire(form_fill.updated_at)
    device = sign_in(app, tech)
    push(device, edit(form_fill, "kept", changes={"b": 1}))
    push(device, edit(form_fill, "pruned", changes={"c": 1}))
    with app.app_context():
        last = world.all(LedgerEntry)[-1].id
        unit_of_work(lambda _: db.session.execute(delete(LedgerEntry).where(LedgerEntry.id == last)))
    results = push(device, edit(form_fill, "mine", base, changes={"c": 2}, resolve_strategy="merge"))
    assert results["conflicts"][0]["conflict_data"]["base_data"] is None
    assert world.get(FormFill, form_fill.id).data == {"a": 0, "b": 1, "c": 1}


def test_a_cursor_in_what_was_pruned_is_refused_and_one_after_it_goes_on(
    app: Flask, world: World, tech: User, form_fill: FormFill, clock: SettableClock
) -> None:
    def read(cursor: str | None = None) -> Any:
        settle(app)
        query = f"?cursor={quote(cursor)}" if cursor else ""
        return sign_in(app, tech).get(f"/api/v1/sync/changes{query}").json

    old = read()["data"]["cursor"]
    clock.forward(days=300)
    push(sign_in(app, tech), edit(form_fill, "middle"))
    middle = read(old)["data"]["cursor"]
    clock.forward(days=300)
    push(sign_in(app, tech), edit(form_fill, "new"))
    run(app, "ledger", "prune")
    assert read(old)["code"] == "cursor_expired"
    assert "pruned" in read(old)["error"]
    assert [each["op"] for each in read(middle)["data"]["changes"]] == ["upsert"]


def test_nothing_is_pruned_unless_it_is_called(
    app: Flask, world: World, tech: User, form_fill: FormFill, clock: SettableClock
) -> None:
    before = len(world.all(LedgerEntry))
    clock.forward(days=5000)
    push(sign_in(app, tech), edit(form_fill, "new"))
    assert len(world.all(LedgerEntry)) == before + 1


def test_a_cursor_on_the_last_row_that_went_is_refused(
    app: Flask, world: World, tech: User, form_fill: FormFill, clock: SettableClock
) -> None:
    settle(app)
    cursor = json_of(sign_in(app, tech).get("/api/v1/sync/changes"))["data"]["cursor"]
    last = world.all(LedgerEntry)[-1]
    clock.forward(days=500)
    push(sign_in(app, tech), edit(form_fill, "new"))
    run(app, "ledger", "prune")
    assert horizon(world) == position(last)
    answer = sign_in(app, tech).get(f"/api/v1/sync/changes?cursor={quote(cursor)}")
    assert (answer.status_code, "pruned" in json_of(answer)["error"]) == (410, True)
    # The walk gives one that can be used.
    fresh = json_of(sign_in(app, tech).get("/api/v1/sync/changes"))["data"]["cursor"]
    assert sign_in(app, tech).get(f"/api/v1/sync/changes?cursor={quote(fresh)}").status_code == 200


def test_whoever_looks_at_the_history_finds_what_is_left(
    app: Flask, world: World, tech: User, form_fill: FormFill, clock: SettableClock
) -> None:
    push(sign_in(app, tech), edit(form_fill, "old"))
    clock.forward(days=500)
    push(sign_in(app, tech), edit(form_fill, "new"))
    run(app, "ledger", "prune")
    found: Any = sign_in(app, tech).get(f"/api/v1/form_fills/{form_fill.id}/history").json
    assert [each["changes"] for each in found["data"]["history"]] == [{"a": {"old": "old", "new": "new"}}]


# In pieces, beside others


def test_rows_and_horizon_go_together_though_it_ends_in_the_middle(
    app: Flask, world: World, tech: User, form_fill: FormFill, clock: SettableClock, monkeypatch: Any
) -> None:
    monkeypatch.setattr(pruning, "PIECE", 2)
    push(sign_in(app, tech), *[edit(form_fill, str(number)) for number in range(6)])
    clock.forward(days=500)
    push(sign_in(app, tech), edit(form_fill, "new"))
    entries = world.all(LedgerEntry)
    with app.app_context():
        engine = db.engine
    calls = []

    def fail(*_: Any) -> None:
        calls.append(_)
        if len(calls) == 3:
            raise OSError("the plug was pulled")

    event.listen(engine, "commit", fail)
    settle(app)
    calls.clear()
    result = app.test_cli_runner().invoke(args=["ledger", "prune"])
    event.remove(engine, "commit", fail)
    assert isinstance(result.exception, OSError)
    left = world.all(LedgerEntry)
    assert [each.id for each in left] == [each.id for each in entries[4:]], "two pieces of two"
    assert horizon(world) == position(entries[3])
    assert run(app, "ledger", "prune").exit_code == 0
    assert len(world.all(LedgerEntry)) == 1


def test_two_at_the_same_time_take_turns(
    app: Flask, world: World, tech: User, form_fill: FormFill, clock: SettableClock, monkeypatch: Any
) -> None:
    monkeypatch.setattr(pruning, "PIECE", 2)
    push(sign_in(app, tech), *[edit(form_fill, str(number)) for number in range(6)])
    clock.forward(days=500)
    push(sign_in(app, tech), edit(form_fill, "new"))
    gone = world.all(LedgerEntry)[:-1]
    settle(app)

    def prune() -> pruning.Pruned:
        with app.app_context():
            return pruning.prune(clock() - KEPT)

    found = race(app, prune, prune)
    assert sum(each.entries for each in found) == len(gone)
    assert horizon(world) == position(gone[-1])
    assert len(world.all(LedgerEntry)) == 1


@pytest.mark.database("postgresql")
def test_nothing_goes_before_which_a_transaction_may_still_put_something(
    app: Flask, world: World, tech: User, form_fill: FormFill, clock: SettableClock
) -> None:
    """What it writes would stand before the horizon, and no device would ever hear of it."""
    push(sign_in(app, tech), edit(form_fill, "before"))
    settle(app)
    with app.app_context(), writing(db.engine) as under_way:
        under_way.exec_driver_sql("SELECT pg_current_xact_id()")
        push(sign_in(app, tech), edit(form_fill, "after"))
        after = world.all(LedgerEntry)[-1].id
        clock.forward(days=500)
        push(sign_in(app, tech), edit(form_fill, "new"))
        assert app.test_cli_runner().invoke(args=["ledger", "prune"]).exit_code == 0
        assert after in [each.id for each in world.all(LedgerEntry)]
        assert local_ids(world) == ["new"], "operations have no order that anybody reads"
    run(app, "ledger", "prune")
    assert len(world.all(LedgerEntry)) == 1
    assert local_ids(world) == ["new"]


@pytest.mark.database("postgresql")
def test_on_another_cluster_order_is_put_right_first(
    app: Flask, world: World, tech: User, form_fill: FormFill, clock: SettableClock
) -> None:
    clock.forward(days=500)
    push(sign_in(app, tech), edit(form_fill, "new"))
    with app.app_context():
        unit_of_work(lambda _: db.session.execute(update(LedgerState).values(cluster="another")))
    before = len(world.all(LedgerEntry))
    result = run(app, "ledger", "prune")
    assert (result.exit_code, "moved to another cluster" in result.output) == (1, True)
    assert len(world.all(LedgerEntry)) == before
    assert run(app, "ledger", "prune").exit_code == 0
    assert len(world.all(LedgerEntry)) == 1
