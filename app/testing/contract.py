"""The behaviour that every handler must show, as a class of tests to inherit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import uuid4

import orjson
import pytest
from flask import Flask

from app.administration.rows import declared_labels, declared_title
from app.clock import to_wire
from app.config import API_PREFIX
from app.core.database.engine import db
from app.core.database.rows import set_in_memory
from app.core.host.drift import find_drift
from app.core.host.handlers import creates
from app.core.host.registry import current_registry
from app.core.sync.items import Routed, read_items
from app.core.sync.prepare import prepare
from app.core.values import JsonObject
from app.models import Inspection, LedgerOperation
from app.models.entities import entity_of
from app.models.serialize import encode, select_shown
from app.plugin_api import ById, Row, SyncHandler
from app.testing.samples import ERROR_KEYS, ODD_VALUES, UNCLEAN, columns_of, missing_id, replaced
from app.testing.scene import Scene, push, statements_of
from app.testing.world import World

ALLOWED = ("admin", "owner", "technician")
REFUSED = ("stranger", "unassigned")


class HandlerContract:
    """Tests of one handler. A subclass states the handler and overrides the three methods below."""

    #: The handler under test.
    handler: ClassVar[SyncHandler]

    #: The people whom the policy lets, of those who may change the inspection: at least two. The last of them acts in
    #: most of the tests.
    allowed: ClassVar[tuple[str, ...]] = ALLOWED

    #: Whether `apply` rejects every change of a row that is there. `creation` is then the only method to override, and
    #: the tests of changes are skipped.
    creates_only: ClassVar[bool] = False

    #: Makes rows, in `creation` as well.
    world: World

    def target(self, world: World, inspection: Inspection) -> Row:
        """A row for the handler to act on: the inspection itself or a row below it. Each call returns another one."""
        if self.creates_only:
            pytest.skip("the type only creates rows")
        raise NotImplementedError("Override `target`.")

    def payload(self, target: Row, number: int) -> JsonObject:
        """A valid payload without a version. Each `number` (from 0) makes another change of the same fields.

        They are equal if there is only one thing to do to a row.
        """
        raise NotImplementedError("Override `payload`.")

    def creation(self, inspection: Inspection, number: int) -> JsonObject:
        """A valid payload that creates a row. You need it only if the target has a parent, or `is_new_root`.

        A row with a parent is to stand below `inspection`. A new inspection is another one for each `number`, and its
        payload has a `client_id`.
        """
        raise NotImplementedError("Override `creation`.")

    @pytest.fixture
    def scene(self, app: Flask) -> Scene:
        """People and an inspection."""
        scene = Scene(app)
        self.world = scene.world
        return scene

    def item(self, payload: Any, **more: Any) -> JsonObject:
        """An item with this payload and a new `local_id`; `more` overrides its keys."""
        return {"type": self.handler.type, "local_id": str(uuid4()), self.handler.data_keys[0]: payload, **more}

    def change(self, target: Row, number: int = 0, **more: Any) -> JsonObject:
        """An item with a valid payload, to which `more` is added."""
        return self.item({**self.payload(target, number), **more})

    # The handler itself

    def test_it_is_registered_under_its_type_and_aliases(self, app: Flask) -> None:
        with app.app_context():
            registry = current_registry()
        assert registry.handlers[self.handler.type].handler is self.handler, "state it as an entry point"
        for name in (self.handler.type, *self.handler.aliases):
            assert registry.routes[name] is self.handler

    def test_its_tables_are_those_of_its_models(self, app: Flask) -> None:
        """Otherwise the offline package and the deletion of an inspection may fail for everybody."""
        with app.app_context(), db.engine.connect() as connection:
            assert [str(drift) for drift in find_drift(connection)] == []

    def test_its_examples_are_valid(self, app: Flask) -> None:
        assert self.handler.examples, "an author of an app learns from examples"
        with app.app_context():
            registry = current_registry()
            for item in prepare(read_items({"sync_items": list(self.handler.examples)}, registry), registry):
                assert isinstance(item, Routed), item.rejected.details
                assert item.handler is self.handler
                assert item.fault is None, item.fault.details

    def test_it_is_described(self, scene: Scene) -> None:
        types = scene.client("stranger").get(f"{API_PREFIX}/sync/types").json["data"]["types"]  # type: ignore[index]
        described = next(type_ for type_ in types if type_["type"] == self.handler.type)
        payload = self.payload(self.target(scene.world, scene.inspection), 0)
        ways = described["schema"].get("oneOf", [described["schema"]])
        assert any(set(way["required"]) <= payload.keys() <= way["properties"].keys() for way in ways)

    def test_people_see_its_rows_as_the_entity_declares(self, scene: Scene) -> None:
        """Without a query for each row, and without falling back to the plain table. Devices get them whole."""
        targets = [self.target(scene.world, scene.inspection) for _ in range(2)]
        model = self.handler.target.model
        entity = entity_of(model)
        with scene.app.app_context():
            query = select_shown(model).where(model.id.in_([target.id for target in targets]))
            rows = list(db.session.scalars(query))
            for row in rows:
                set_in_memory(row, {"inspection": scene.inspection} if model is not Inspection else {})
            with statements_of(scene.app) as statements:
                for row in rows:
                    assert entity.title is None or declared_title(row)
                    assert entity.labels is None or isinstance(declared_labels(row), Sequence)
                    assert "unreadable" not in orjson.loads(orjson.dumps(encode(row))), "`record` has failed"
            assert statements == [], "name in `loads` what `title`, `labels` and `record` read"

    # Rights

    @pytest.mark.parametrize("who", ALLOWED)
    def test_whoever_may_change_the_inspection_may_do_it(self, scene: Scene, who: str) -> None:
        item = self.change(self.target(scene.world, scene.inspection))
        if who not in self.allowed:
            self.assert_refused(scene, who, [item], "forbidden")
            return
        results = push(scene.client(who), item)
        assert results["errors"] == results["conflicts"] == []
        (entry,) = results["success"]
        assert (entry["index"], entry["local_id"], entry["type"]) == (0, item["local_id"], item["type"])
        assert entry["server_id"]
        assert entry["message"]
        assert ("updated_at" in entry) == self.handler.versioned
        head = scene.world.all(LedgerOperation)[-1]
        assert (head.local_id, head.type, head.user_id) == (item["local_id"], item["type"], scene.user(who).id)

    @pytest.mark.parametrize("who", REFUSED)
    def test_nobody_else_may_nor_sees_any_data(self, scene: Scene, who: str) -> None:
        target = self.target(scene.world, scene.inspection)
        items = [self.change(target)]
        if self.handler.versioned:
            stale = to_wire(target.updated_at - dt.timedelta(days=1))
            strategies = (None, "use_server")
            items += [self.change(target, updated_at=stale, resolve_strategy=strategy) for strategy in strategies]
        self.assert_refused(scene, who, items, "forbidden")

    def test_a_target_that_is_not_there_is_not_found(self, scene: Scene) -> None:
        target = self.target(scene.world, scene.inspection)
        keys = self.handler.target.keys
        payload = {
            name: missing_id(self.handler.target) if name in keys else value
            for name, value in self.payload(target, 0).items()
        }
        self.assert_refused(scene, "admin", [self.item(payload)], "not_found")

    # Payloads

    def test_every_alias_and_payload_key_is_accepted(self, scene: Scene) -> None:
        target = self.target(scene.world, scene.inspection)
        names = [(self.handler.type, key) for key in self.handler.data_keys]
        names += [(alias, self.handler.data_keys[0]) for alias in self.handler.aliases]
        for number, (name, key) in enumerate(names):
            item = {"type": name, "local_id": str(uuid4()), key: self.payload(target, number)}
            (entry,) = push(scene.client(self.allowed[-1]), item)["success"]
            assert entry["type"] == name

    def test_an_unknown_key_is_invalid_and_named(self, scene: Scene) -> None:
        target = self.target(scene.world, scene.inspection)
        entries = self.assert_refused(scene, self.allowed[-1], [self.change(target, no_such_key=1)], "invalid")
        assert "no_such_key" in entries[0]["details"]

    @pytest.mark.parametrize("wrong", [True, 1.5, [], {}, [1]], ids=str)
    def test_what_cannot_be_an_id_is_invalid_and_named(self, scene: Scene, wrong: Any) -> None:
        payload = self.payload(self.target(scene.world, scene.inspection), 0)
        key = next(name for name in self.handler.target.keys if name in payload)
        entries = self.assert_refused(scene, self.allowed[-1], [self.item({**payload, key: wrong})], "invalid")
        assert key in entries[0]["details"]

    @pytest.mark.parametrize("payload", [None, [], "text", 1, {}], ids=repr)
    def test_a_payload_that_is_none_is_invalid(self, scene: Scene, payload: Any) -> None:
        self.assert_refused(scene, self.allowed[-1], [self.item(payload)], "invalid")

    @pytest.mark.parametrize("text", UNCLEAN, ids=["NUL", "surrogate"])
    def test_text_that_cannot_be_stored_is_refused_for_its_item_only(self, scene: Scene, text: str) -> None:
        target = self.target(scene.world, scene.inspection)
        payload = self.payload(target, 0)
        bad = [self.item({**payload, text: 1}), self.change(target, more={"deep": [text]})]
        bad += [self.item(spoilt) for spoilt in replaced(payload, (text,))]
        results = push(scene.client(self.allowed[-1]), *bad, self.change(target, 1))
        assert {entry["code"] for entry in results["errors"]} == {"invalid"}
        assert [entry["index"] for entry in results["errors"]] == list(range(len(bad)))
        assert len(results["success"]) == 1

    def test_no_value_makes_it_fail(self, scene: Scene) -> None:
        payload = self.payload(self.target(scene.world, scene.inspection), 0)
        results = push(scene.client(self.allowed[-1]), *(self.item(odd) for odd in replaced(payload, ODD_VALUES)))
        for entry in results["errors"]:
            assert entry["code"] != "handler_failed", entry
            assert set(entry) <= ERROR_KEYS

    def test_no_missing_key_makes_it_fail(self, scene: Scene) -> None:
        payload = self.payload(self.target(scene.world, scene.inspection), 0)
        payloads = [{name: value for name, value in payload.items() if name != missing} for missing in payload]
        results = push(scene.client(self.allowed[-1]), *(self.item(payload) for payload in payloads))
        assert {entry["code"] for entry in results["errors"]} <= {"invalid"}

    def test_deep_nesting_is_no_failure_of_the_server(self, scene: Scene) -> None:
        target = self.target(scene.world, scene.inspection)
        deep: Any = "end"
        for _ in range(2):
            for _ in range(25):
                deep = [deep]
            self.assert_refused(scene, self.allowed[-1], [self.change(target, no_such_key=deep)], "invalid")

    def test_a_bad_item_does_not_touch_its_neighbours(self, scene: Scene) -> None:
        target = self.target(scene.world, scene.inspection)
        items = [self.change(target), self.change(target, no_such_key=1), self.item({}), self.change(target, 1)]
        results = push(scene.client(self.allowed[-1]), *items)
        assert [entry["index"] for entry in results["success"]] == [0, 3]
        assert [entry["index"] for entry in results["errors"]] == [1, 2]

    # Retries

    def test_a_retry_is_answered_again_and_changes_nothing(self, scene: Scene) -> None:
        target = self.target(scene.world, scene.inspection)
        first, second = self.change(target), self.change(target, 1)
        (before,) = push(scene.client(self.allowed[-1]), first)["success"]
        push(scene.client(self.allowed[-2]), second)
        recorded, stored = scene.world.recorded(), self.stored(scene)
        (entry,) = push(scene.client(self.allowed[-1]), first)["success"]
        assert entry["replayed"] is True
        assert entry["first_applied_at"]
        assert (entry["server_id"], entry["message"]) == (before["server_id"], before["message"])
        assert scene.world.recorded() == recorded, "a retry is not recorded again"
        assert self.stored(scene) == stored, "nor applied again"

    def test_a_retry_in_one_batch_is_applied_once(self, scene: Scene) -> None:
        item = self.change(self.target(scene.world, scene.inspection))
        entries = push(scene.client(self.allowed[-1]), item, item)["success"]
        assert ["replayed" in entry for entry in entries] == [False, True]

    def test_the_same_local_id_with_other_content_is_a_new_operation(self, scene: Scene) -> None:
        target = self.target(scene.world, scene.inspection)
        payloads = [self.payload(target, number) for number in (0, 1)]
        if payloads[0] == payloads[1]:
            pytest.skip("all changes of a row are the same")
        for item in (self.item(payload, local_id="same") for payload in payloads):
            (entry,) = push(scene.client(self.allowed[-1]), item)["success"]
            assert "replayed" not in entry

    def test_another_users_item_is_no_retry(self, scene: Scene) -> None:
        item = self.change(self.target(scene.world, scene.inspection))
        for who in self.allowed[-2:]:
            (entry,) = push(scene.client(who), item)["success"]
            assert "replayed" not in entry

    # Speed

    def test_the_number_of_statements_does_not_depend_on_the_number_of_items(self, scene: Scene) -> None:
        targets = [self.target(scene.world, scene.another_inspection()) for _ in range(21)]
        items = [self.change(target) for target in targets]
        self.assert_constant(scene, "fresh", items)
        self.assert_constant(scene, "replayed", items)

    def test_conflicts_take_a_fixed_number_of_statements_too(self, scene: Scene) -> None:
        self.needs_versions()
        targets = [self.target(scene.world, scene.another_inspection()) for _ in range(21)]
        push(scene.client(self.allowed[-2]), *(self.change(target) for target in targets))
        stale = [self.change(target, 1, updated_at=to_wire(target.updated_at)) for target in targets]
        self.assert_constant(scene, "stale", stale)

    # Versions

    def test_a_stale_version_is_a_conflict_and_nothing_is_written(self, scene: Scene) -> None:
        self.needs_versions()
        target, version = self.changed_meanwhile(scene)
        stored = self.stored(scene)
        results = push(scene.client(self.allowed[-1]), self.change(target, 1, updated_at=version))
        assert results["success"] == results["errors"] == []
        (entry,) = results["conflicts"]
        assert entry["conflict"] is True
        assert entry["success"] is False
        assert entry["server_id"] == target.id
        data = entry["conflict_data"]
        assert data["local_version"] == version
        assert data["server_version"] > version
        assert {"server_data", "local_data", "base_data", "conflicting_fields"} <= data.keys()
        assert self.stored(scene) == stored

    def test_the_present_version_or_none_is_no_conflict(self, scene: Scene) -> None:
        self.needs_versions()
        target = self.target(scene.world, scene.inspection)
        client = scene.client(self.allowed[-1])
        (entry,) = push(client, self.change(target, 0, updated_at=to_wire(target.updated_at)))["success"]
        (again,) = push(client, self.change(target, 1, updated_at=entry["updated_at"]))["success"]
        assert "data" not in again, "whoever knew the version needs no content"
        (last,) = push(client, self.change(target, 2))["success"]
        assert "data" in last, "version and content come together"
        assert entry["updated_at"] < again["updated_at"] < last["updated_at"]

    def test_a_merge_writes_over_nothing(self, scene: Scene) -> None:
        """Two changes of the same fields cannot be merged: one of them would be lost in silence."""
        self.needs_versions()
        target, version = self.changed_meanwhile(scene)
        stored = self.stored(scene)
        stale = self.change(target, 1, updated_at=version, resolve_strategy="merge")
        results = push(scene.client(self.allowed[-1]), stale)
        assert results["conflicts"], "the fields that `payload` changes must be fields of the entity"
        assert self.stored(scene) == stored

    def test_ones_own_chain_in_one_batch_is_no_conflict(self, scene: Scene) -> None:
        self.needs_versions()
        target = self.target(scene.world, scene.inspection)
        items = [self.change(target, number, updated_at=to_wire(target.updated_at)) for number in range(3)]
        assert len(push(scene.client(self.allowed[-1]), *items)["success"]) == 3

    def test_a_strategy_decides_a_conflict_up_front(self, scene: Scene) -> None:
        self.needs_versions()
        target, version = self.changed_meanwhile(scene)
        stored = self.stored(scene)
        client = scene.client(self.allowed[-1])
        (kept,) = push(client, self.change(target, 1, updated_at=version, resolve_strategy="use_server"))["success"]
        assert "data" in kept
        assert self.stored(scene) == stored, "the server's version stands"
        (won,) = push(client, self.change(target, 1, updated_at=version, resolve_strategy="use_local"))["success"]
        assert "data" in won
        assert self.stored(scene) != stored

    @pytest.mark.parametrize(
        "wrong",
        [{"resolve_strategy": "mine"}, {"resolve_strategy": []}, {"updated_at": 5}, {"updated_at": "yesterday"}],
        ids=str,
    )
    def test_an_unknown_strategy_or_version_is_invalid_and_named(self, scene: Scene, wrong: JsonObject) -> None:
        self.needs_versions()
        target = self.target(scene.world, scene.inspection)
        entries = self.assert_refused(scene, self.allowed[-1], [self.change(target, **wrong)], "invalid")
        assert entries[0]["details"].keys() == wrong.keys()

    # Creating

    @pytest.mark.parametrize("who", ALLOWED)
    def test_whoever_may_change_the_inspection_may_create(self, scene: Scene, who: str) -> None:
        self.needs_parent()
        item = self.item(self.creation(scene.inspection, 0))
        if who not in self.allowed:
            self.assert_refused(scene, who, [item], "forbidden")
            return
        (entry,) = push(scene.client(who), item)["success"]
        (again,) = push(scene.client(who), item)["success"]
        assert again["replayed"] is True
        assert again["server_id"] == entry["server_id"]
        assert scene.world.get(self.handler.target.model, entry["server_id"]) is not None

    @pytest.mark.parametrize("who", REFUSED)
    def test_nobody_else_may_create(self, scene: Scene, who: str) -> None:
        self.needs_parent()
        self.assert_refused(scene, who, [self.item(self.creation(scene.inspection, 0))], "forbidden")

    def test_creating_below_what_is_not_there_is_not_found(self, scene: Scene) -> None:
        parent = self.needs_parent()
        payload = {
            name: missing_id(parent) if name in parent.keys else value
            for name, value in self.creation(scene.inspection, 0).items()
        }
        self.assert_refused(scene, "admin", [self.item(payload)], "not_found")

    def test_creating_takes_a_fixed_number_of_statements(self, scene: Scene) -> None:
        self.needs_creation()
        inspections = [scene.another_inspection() for _ in range(21)]
        payloads = [self.creation(inspection, number) for number, inspection in enumerate(inspections)]
        self.assert_constant(scene, "fresh", [self.item(payload) for payload in payloads])

    @pytest.mark.parametrize("who", [*ALLOWED, *REFUSED])
    def test_a_new_inspection_is_its_makers(self, scene: Scene, who: str) -> None:
        self.needs_new_root()
        item = self.item(self.creation(scene.inspection, 0))
        (entry,) = push(scene.client(who), item)["success"]
        (again,) = push(scene.client(who), item)["success"]
        assert again["replayed"] is True
        assert again["server_id"] == entry["server_id"]
        assert scene.world.get(Inspection, entry["server_id"]).owner_id == scene.user(who).id

    def test_the_client_id_of_somebody_elses_inspection_is_taken(self, scene: Scene) -> None:
        self.needs_new_root()
        payload = self.creation(scene.inspection, 0)
        push(scene.client("owner"), self.item(payload))
        (entry,) = self.assert_refused(scene, "stranger", [self.item(payload)], "invalid")
        assert entry["error"] == "client_id is taken"

    # Helpers of the tests

    def needs_versions(self) -> None:
        """Skip the test unless the handler takes versions."""
        if not self.handler.versioned:
            pytest.skip("the type has no versions")

    def needs_creation(self) -> None:
        """Skip the test unless the handler creates rows."""
        if not creates(self.handler):
            pytest.skip("the type creates nothing")

    def needs_parent(self) -> ById:
        """Skip the test unless the handler creates rows below others; how it finds the row to create them below."""
        if self.handler.target.parent is None:
            pytest.skip("the type creates nothing below another row")
        return self.handler.target.parent

    def needs_new_root(self) -> None:
        """Skip the test unless the handler makes new inspections."""
        if not self.handler.target.is_new_root:
            pytest.skip("the type makes no inspections")

    def changed_meanwhile(self, scene: Scene) -> tuple[Row, str]:
        """A target that somebody has changed, and its version before that change."""
        target = self.target(scene.world, scene.inspection)
        (entry,) = push(scene.client(self.allowed[-2]), self.change(target))["success"]
        assert entry["updated_at"] > to_wire(target.updated_at), "`payload` must change something"
        return target, to_wire(target.updated_at)

    def stored(self, scene: Scene) -> list[JsonObject]:
        """The columns of all rows that an operation of this handler may change."""
        models = {self.handler.target.model, *(target.model for target in self.handler.rows.values())}
        names = sorted(models, key=lambda model: str(model.__name__))
        return [columns_of(row) for model in names for row in scene.world.all(model)]

    def assert_refused(self, scene: Scene, who: str, items: Sequence[JsonObject], code: str) -> list[JsonObject]:
        """Assert that all these items are refused with `code`, and nothing is shown or recorded; the error entries."""
        client, recorded = scene.client(who), scene.world.recorded()
        results = push(client, *items)
        assert results["success"] == results["conflicts"] == []
        for entry in results["errors"]:
            assert entry["code"] == code, entry
            assert set(entry) <= ERROR_KEYS, "an error shows no data"
        assert scene.world.recorded() == recorded
        return results["errors"]

    def assert_constant(self, scene: Scene, kind: str, items: Sequence[JsonObject]) -> None:
        """Assert that one item takes as many statements as all the others together."""
        client = scene.client(self.allowed[-1])
        push(client, *items[:0])
        counts = []
        for batch in (items[:1], items[1:]):
            with statements_of(scene.app) as statements:
                push(client, *batch)
            counts.append(len(statements))
        assert counts[0] == counts[1], f"{kind}: 1 item takes {counts[0]} statements, {len(items) - 1} take {counts[1]}"
