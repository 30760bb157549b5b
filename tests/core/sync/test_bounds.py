"""What a batch's answer shows is bounded in bytes, and so is a form: nobody gets megabytes for a few kilobytes."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.config import Settings
from app.core.host.registry import current_registry
from app.core.ledger import history
from app.core.sync import bounds, isolation
from app.core.sync.items import Routed, read_items
from app.core.sync.prepare import prepare
from app.feed import page
from app.models import FormFill, Inspection
from app.testing import push
from tests.conftest import World
from tests.core.sync.conftest import edit, stored

OLD = "2024-03-15T10:29:00.000Z"

MIB = 1024 * 1024


def large(count: int, size: int = 100) -> dict[str, str]:
    return {f"field {number}": "x" * size for number in range(count)}


def fill(world: World, inspection: Inspection, data: dict[str, Any]) -> FormFill:
    return world.form_fill(inspection, data=data)


def test_the_limits_are_those_of_the_contract() -> None:
    """32 MiB for the answer to a batch, 8 of them for the request's own texts, and 8 for a page (sections 3, 6, 7)."""
    assert bounds.MAX_ENTRY_BYTES + Settings.max_batch_bytes == 32 * MIB
    assert bounds.MAX_REPEATED_BYTES == MIB
    assert page.PAGE_BYTES == history.PAGE_BYTES == 8 * MIB


def test_many_stale_items_for_one_large_form_take_little_memory_and_get_a_small_answer(
    world: World, inspection: Inspection, device: FlaskClient
) -> None:
    form_fill = fill(world, inspection, large(2000))
    items = [edit(form_fill, OLD, a=number) for number in range(300)]
    tracemalloc.start()
    try:
        answer = device.post("/api/v1/sync", json={"sync_items": items})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    results = answer.json["results"]  # type: ignore[index]
    assert len(answer.data) < 3 * MIB
    assert peak < 40 * MIB
    assert len(results["conflicts"]) >= 2, "of a few items each is told its conflict"
    (code,) = {(entry["code"], entry["retryable"]) for entry in results["errors"]}
    assert code == ("answer_full", True)
    assert len(results["conflicts"]) + len(results["errors"]) == 300


@pytest.mark.database("sqlite")
def test_refused_items_are_gone_without_a_search_for_garbage(app: Flask) -> None:
    # The core refuses the version, and the schema the id.
    sent = [edit(1, "no time", a=1), {"type": "inspection", "local_id": "x", "data": {"id": 1, "status": "none"}}]
    with app.app_context():
        registry = current_registry()
        gc.disable()
        try:
            items = prepare(read_items({"sync_items": sent}, registry), registry)
            faults = [weakref.ref(item.fault) for item in items if isinstance(item, Routed) and item.fault is not None]
            assert len(faults) == len(sent)
            del items
            assert [fault() for fault in faults] == [None] * len(sent)
        finally:
            gc.enable()


def test_what_was_applied_stays_a_success_without_its_content_where_there_is_no_room(
    world: World, inspection: Inspection, device: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "MAX_ENTRY_BYTES", 5000)
    forms = [fill(world, inspection, large(10)) for _ in range(10)]
    results = push(device, *(edit(form, a=1) for form in forms))
    assert len(results["success"]) == 10
    shown = [("data" in entry, "updated_at" in entry) for entry in results["success"]]
    assert shown[0] == (True, True)
    assert shown[-1] == (False, False)
    assert set(shown) == {(True, True), (False, False)}, "both or neither"
    assert all(stored(world, form)["a"] == 1 for form in forms)


def test_a_conflict_for_which_there_is_no_room_is_retryable_and_told_when_it_is_sent_again(
    world: World, inspection: Inspection, device: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "MAX_ENTRY_BYTES", 5000)
    forms = [fill(world, inspection, large(10)) for _ in range(10)]
    items = [edit(form, OLD, a=1) for form in forms]
    results = push(device, *items)
    kept = [entry["index"] for entry in results["errors"] if entry["retryable"]]
    assert results["conflicts"]
    assert [entry["index"] for entry in results["conflicts"]] + kept == list(range(10))
    for index in kept:
        assert len(push(device, items[index])["conflicts"]) == 1


def test_a_retry_of_many_items_of_one_row_shows_it_a_few_times_and_replays_all(
    world: World, inspection: Inspection, device: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_REPEATED_BYTES", 3000)
    form_fill = fill(world, inspection, large(10))
    items = [edit(form_fill, a=number) for number in range(10)]
    push(device, *items)
    results = push(device, *items)
    assert [entry["replayed"] for entry in results["success"]] == [True] * 10
    assert 2 <= sum("data" in entry for entry in results["success"]) <= 4
    assert all(("data" in entry) == ("updated_at" in entry) for entry in results["success"])


class TestSmallForms:
    """With a limit of 2048 bytes for a form."""

    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return environment | {"FIELDPOST_MAX_FORM_BYTES": "2048"}

    @pytest.mark.parametrize("strategy", [None, "merge", "use_local"])
    def test_a_form_that_would_be_larger_is_invalid_and_stays_as_it_was(
        self, world: World, inspection: Inspection, device: FlaskClient, strategy: str | None
    ) -> None:
        form_fill = fill(world, inspection, {"a": "x" * 1500})
        version = "2024-03-15T10:30:00.000Z"
        results = push(device, edit(form_fill, version, strategy=strategy, b="x" * 600), edit(form_fill, c=1))
        (entry,) = results["errors"]
        assert (entry["index"], entry["code"], entry["retryable"]) == (0, "invalid", False)
        assert "2048" in entry["details"]["data"][0]
        assert stored(world, form_fill) == {"a": "x" * 1500, "c": 1}

    def test_a_create_that_is_too_large_is_invalid(
        self, world: World, inspection: Inspection, device: FlaskClient
    ) -> None:
        ids = {"inspection_id": inspection.id, "form_template_id": world.template().id}
        create = {"type": "form_fill", "local_id": "new", "data": {**ids, "data": {"a": "x" * 2100}}}
        assert [entry["code"] for entry in push(device, create)["errors"]] == ["invalid"]
        assert world.all(FormFill) == []

    def test_a_form_from_before_the_limit_may_shrink(
        self, world: World, inspection: Inspection, device: FlaskClient
    ) -> None:
        form_fill = fill(world, inspection, {"a": "x" * 3000, "b": "x" * 3000})
        assert push(device, edit(form_fill, a="short"))["success"]
        assert push(device, edit(form_fill, a="x" * 2000))["errors"]
