"""What tests of a plugin need: the behaviour that every handler must show, as tests to inherit, and a world for them.

For tests only, ours and strangers'; nothing that serves requests imports it. A plugin's suite brings one fixture,
`app`, a ready application on a fresh database, and a class for each handler. In `conftest.py`::

    pytest.register_assert_rewrite("app.testing")

    @pytest.fixture
    def app(tmp_path):
        app = create_app({"FIELDPOST_DATA_DIR": str(tmp_path), "DATABASE_URL": ""})
        with app.app_context():
            upgrade()  # the core's tables and the plugins'
        return app

and in `test_meter_reading.py`::

    class TestMeterReading(HandlerContract):
        handler = handler

        def target(self, world, inspection):
            return world.make(Reading, inspection.id, value=0)

        def payload(self, target, number):
            return {"id": target.id, "value": number}

        def creation(self, inspection, number):
            return {"inspection_id": inspection.id, "value": number}
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import String, event, func, inspect, select

from app.clock import to_wire
from app.config import API_PREFIX
from app.core.database.engine import db
from app.core.host.migrations import upgrade as upgrade
from app.core.host.registry import current_registry
from app.core.ledger.record import Origin, Recorder, record
from app.core.sync.items import Routed, read_items
from app.core.sync.prepare import prepare
from app.core.values import MAX_INTEGER
from app.models import Attachment, FormFill, FormTemplate, Inspection, LedgerEntry, LedgerOperation, User
from app.plugin_api import ById, Row, SyncHandler

PASSWORD = "correct horse battery staple"

#: Cheap on purpose: what a real hash costs is not a matter of these tests.
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)

STRUCTURE = [
    {"name": "Location_row_1", "type": "text", "label_name": "Location"},
    {"name": "Riser_Photo", "type": "photo"},
    {"name": "Signature", "type": "signature"},
]

#: What an entry of `errors` may consist of: nothing of any row.
ERROR_KEYS = {"index", "local_id", "type", "code", "error", "message", "retryable", "details"}

#: Texts that no database and no JSON reader keeps.
UNCLEAN = ("a\0b", "a\ud800b")

#: What a mistaken or hostile device may send in place of any value.
ODD_VALUES: Sequence[Any] = (
    None, True, 0, -1, MAX_INTEGER, 1.5, 1e300, "", " ", "é" * 5000, "1", "2024-13-45", [], {}, [[]], {"a": {"b": []}},
)  # fmt: skip


class World:
    """Makes users, inspections and form fills in the database, through the ledger as everybody must."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    def make(self, model: type, root: Any = None, **values: Any) -> Any:
        """A row of `model`; `root` is the id of its inspection."""

        def work(recorder: Recorder) -> Any:
            parent = recorder.session.get(Inspection, root) if root else None
            return recorder.create(model, values, parent)

        with self.app.app_context():
            row = record("test.make", Origin(door="cli"), work)
            db.session.expunge_all()
            return row

    def user(self, email: str = "tech@example.com", role: str = "technician", **values: Any) -> User:
        """Somebody who can sign in with `PASSWORD`."""
        defaults = {"name": email.split("@")[0].title(), "active": True, "password_hash": PASSWORD_HASH}
        found: User = self.make(User, **{**defaults, "email": email, "role": role, **values})
        return found

    def template(self, **values: Any) -> FormTemplate:
        """A form template with a text, a photo and a signature."""
        found: FormTemplate = self.make(FormTemplate, **{"name": "Sprinkler", "form_structure": STRUCTURE, **values})
        return found

    def inspection(self, owner: User, assignee: User | None = None, **values: Any) -> Inspection:
        """A pending inspection."""
        defaults = {"date": dt.date(2024, 3, 20), "owner_id": owner.id, "status": "pending"}
        found: Inspection = self.make(
            Inspection, **{**defaults, "assignee_id": None if assignee is None else assignee.id, **values}
        )
        return found

    def form_fill(self, inspection: Inspection, template: FormTemplate | None = None, **values: Any) -> FormFill:
        """An empty form fill, of a template of its own unless one is named."""
        template = template or self.template()
        found: FormFill = self.make(FormFill, inspection.id, **{"form_template_id": template.id, "data": {}, **values})
        return found

    def attachment(self, form_fill: FormFill, field_name: str = "Riser_Photo", kind: str = "photo") -> Attachment:
        """The row of an attachment, without bytes in the storage."""
        name = str(uuid4())
        found: Attachment = self.make(
            Attachment,
            form_fill.inspection_id,
            form_fill_id=form_fill.id,
            kind=kind,
            field_name=field_name,
            position=1 + sum(each.form_fill_id == form_fill.id for each in self.all(Attachment)),
            filename=None,
            content_type="image/jpeg",
            byte_size=1,
            width=1,
            height=1,
            sha256=sha256(name.encode()).hexdigest(),
            storage_key=name,
            uploaded_by_id=0,
            deleted_at=None,
        )
        return found

    def get(self, model: type, key: Any) -> Any:
        """The row as stored now, read in a context and session of its own; None if it is not there."""
        with self.app.app_context():
            row: Any = db.session.get(model, key)
            if row is not None:
                db.session.expunge(row)
            return row

    def all(self, model: type) -> list[Any]:
        """All rows of a table, by id, read in a context of their own."""
        with self.app.app_context():
            rows: list[Any] = list(db.session.scalars(select(model).order_by(inspect(model).primary_key[0])))
            db.session.expunge_all()
            return rows

    def recorded(self) -> tuple[int, int]:
        """How many operations and changed rows the ledger tells of."""
        with self.app.app_context():
            counts = [db.session.scalar(select(func.count(each.id))) or 0 for each in (LedgerOperation, LedgerEntry)]
        return counts[0], counts[1]


def sign_in(app: Flask, user: User, device_id: str | None = None) -> FlaskClient:
    """A test client that sends the user's access token with every request."""
    body = {"email": user.email, "password": PASSWORD}
    if device_id is not None:
        body["device_id"] = device_id
    client = app.test_client()
    answer = client.post(f"{API_PREFIX}/auth/login", json=body)
    assert answer.status_code == 200, answer.text
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {answer.json['access_token']}"  # type: ignore[index]
    return client


def push(client: FlaskClient, *items: Any) -> dict[str, list[dict[str, Any]]]:
    """Send one batch; the three lists of its answer."""
    # The standard library's JSON also writes what the server must refuse: lone surrogates, for one.
    body = json.dumps({"sync_items": items})
    answer = client.post(f"{API_PREFIX}/sync", data=body, content_type="application/json")
    assert answer.status_code == 200, answer.text
    results: dict[str, list[dict[str, Any]]] = answer.json["results"]  # type: ignore[index]
    assert sum(map(len, results.values())) == len(items), "each item has one entry"
    return results


@contextmanager
def statements_of(app: Flask) -> Iterator[list[str]]:
    """The SQL statements that are sent while the block lasts."""
    with app.app_context():
        engine = db.engine
    found: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        found.append(statement)

    event.listen(engine, "before_cursor_execute", listen)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", listen)


class Scene:
    """An inspection with an owner and an assigned technician, an administrator, and two who have no business there."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.world = World(app)
        self._clients: dict[str, FlaskClient] = {}
        self._users: dict[str, User] = {}

    def user(self, who: str) -> User:
        """`admin`, `owner`, `technician`, `unassigned` (a technician) or `stranger`."""
        if who not in self._users:
            role = {"admin": "admin", "technician": "technician", "unassigned": "technician"}.get(who, "user")
            self._users[who] = self.world.user(f"{who}@example.com", role)
        return self._users[who]

    def client(self, who: str) -> FlaskClient:
        """That user's client."""
        if who not in self._clients:
            self._clients[who] = sign_in(self.app, self.user(who))
        return self._clients[who]

    @cached_property
    def inspection(self) -> Inspection:
        """The inspection that the targets stand below."""
        return self.another_inspection()

    def another_inspection(self) -> Inspection:
        """One more, of the same two people."""
        return self.world.inspection(self.user("owner"), self.user("technician"))


ALLOWED = ("admin", "owner", "technician")
REFUSED = ("stranger", "unassigned")


class HandlerContract:
    """Tests of one handler. A subclass states the handler and overrides the three methods below."""

    #: The handler under test.
    handler: ClassVar[SyncHandler]

    #: Whom the policy lets, of those who may change the inspection: two at least. The last of them does most here.
    allowed: ClassVar[tuple[str, ...]] = ALLOWED

    def target(self, world: World, inspection: Inspection) -> Row:
        """A row for the handler to act on, the inspection itself or one below it; a new one on each call."""
        raise NotImplementedError("Override `target`.")

    def payload(self, target: Row, number: int) -> dict[str, Any]:
        """A valid payload without version; another `number` (from 0), another change of the same fields."""
        raise NotImplementedError("Override `payload`.")

    def creation(self, inspection: Inspection, number: int) -> dict[str, Any]:
        """A valid payload that makes a row below `inspection`; needed only where the target has a parent."""
        raise NotImplementedError("Override `creation`.")

    @pytest.fixture
    def scene(self, app: Flask) -> Scene:
        """People and an inspection."""
        return Scene(app)

    def item(self, payload: Any, **more: Any) -> dict[str, Any]:
        """An item with this payload and a `local_id` of its own; `more` overrides its keys."""
        return {"type": self.handler.type, "local_id": str(uuid4()), self.handler.data_keys[0]: payload, **more}

    def change(self, target: Row, number: int = 0, **more: Any) -> dict[str, Any]:
        """An item with a valid payload; `more` is added to it."""
        return self.item({**self.payload(target, number), **more})

    # What it is

    def test_it_is_registered_under_its_type_and_aliases(self, app: Flask) -> None:
        with app.app_context():
            registry = current_registry()
        assert registry.handlers[self.handler.type].handler is self.handler, "state it as an entry point"
        for name in (self.handler.type, *self.handler.aliases):
            assert registry.routes[name] is self.handler

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
        described = next(each for each in types if each["type"] == self.handler.type)
        payload = self.payload(self.target(scene.world, scene.inspection), 0)
        ways = described["schema"].get("oneOf", [described["schema"]])
        assert any(set(each["required"]) <= payload.keys() <= each["properties"].keys() for each in ways)

    # Who may

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
            items += [self.change(target, updated_at=stale, resolve_strategy=each) for each in (None, "use_server")]
        self.assert_refused(scene, who, items, "forbidden")

    def test_a_target_that_is_not_there_is_not_found(self, scene: Scene) -> None:
        target = self.target(scene.world, scene.inspection)
        keys = self.handler.target.keys
        payload = {
            name: _missing_id(self.handler.target) if name in keys else value
            for name, value in self.payload(target, 0).items()
        }
        self.assert_refused(scene, "admin", [self.item(payload)], "not_found")

    # What is sent

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
        key = next(each for each in self.handler.target.keys if each in payload)
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
        bad += [self.item(each) for each in _replaced(payload, (text,))]
        results = push(scene.client(self.allowed[-1]), *bad, self.change(target, 1))
        assert {entry["code"] for entry in results["errors"]} == {"invalid"}
        assert [entry["index"] for entry in results["errors"]] == list(range(len(bad)))
        assert len(results["success"]) == 1

    def test_no_value_makes_it_fail(self, scene: Scene) -> None:
        payload = self.payload(self.target(scene.world, scene.inspection), 0)
        results = push(scene.client(self.allowed[-1]), *(self.item(each) for each in _replaced(payload, ODD_VALUES)))
        for entry in results["errors"]:
            assert entry["code"] != "handler_failed", entry
            assert set(entry) <= ERROR_KEYS

    def test_no_missing_key_makes_it_fail(self, scene: Scene) -> None:
        payload = self.payload(self.target(scene.world, scene.inspection), 0)
        sent = [{name: value for name, value in payload.items() if name != missing} for missing in payload]
        results = push(scene.client(self.allowed[-1]), *(self.item(each) for each in sent))
        assert {entry["code"] for entry in results["errors"]} <= {"invalid"}

    def test_deep_nesting_is_no_failure_of_the_server(self, scene: Scene) -> None:
        target = self.target(scene.world, scene.inspection)
        deep: Any = "end"
        for _ in range(25):
            deep = [deep]
        self.assert_refused(scene, self.allowed[-1], [self.change(target, no_such_key=deep)], "invalid")
        for _ in range(25):
            deep = [deep]
        answer = scene.client(self.allowed[-1]).post(
            f"{API_PREFIX}/sync", json={"sync_items": [self.change(target, no_such_key=deep)]}
        )
        assert answer.status_code == 400
        assert answer.json["code"] == "bad_json"  # type: ignore[index]

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
        items = [self.item(self.payload(target, number), local_id="same") for number in (0, 1)]
        for item in items:
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
        stale = [self.change(each, 1, updated_at=to_wire(each.updated_at)) for each in targets]
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

    def test_ones_own_chain_in_one_batch_is_no_conflict(self, scene: Scene) -> None:
        self.needs_versions()
        target = self.target(scene.world, scene.inspection)
        items = [self.change(target, each, updated_at=to_wire(target.updated_at)) for each in range(3)]
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
    def test_an_unknown_strategy_or_version_is_invalid_and_named(self, scene: Scene, wrong: dict[str, Any]) -> None:
        self.needs_versions()
        target = self.target(scene.world, scene.inspection)
        entries = self.assert_refused(scene, self.allowed[-1], [self.change(target, **wrong)], "invalid")
        assert entries[0]["details"].keys() == wrong.keys()

    # Creating

    @pytest.mark.parametrize("who", ALLOWED)
    def test_whoever_may_change_the_inspection_may_create(self, scene: Scene, who: str) -> None:
        self.needs_creation()
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
        self.needs_creation()
        self.assert_refused(scene, who, [self.item(self.creation(scene.inspection, 0))], "forbidden")

    def test_creating_below_what_is_not_there_is_not_found(self, scene: Scene) -> None:
        parent = self.needs_creation()
        payload = {
            name: _missing_id(parent) if name in parent.keys else value
            for name, value in self.creation(scene.inspection, 0).items()
        }
        self.assert_refused(scene, "admin", [self.item(payload)], "not_found")

    def test_creating_takes_a_fixed_number_of_statements(self, scene: Scene) -> None:
        self.needs_creation()
        inspections = [scene.another_inspection() for _ in range(21)]
        self.assert_constant(scene, "fresh", [self.item(self.creation(each, 0)) for each in inspections])

    # What the tests are made of

    def needs_versions(self) -> None:
        """Skip, unless the handler takes versions."""
        if not self.handler.versioned:
            pytest.skip("the type has no versions")

    def needs_creation(self) -> ById:
        """Skip, unless the handler creates; how it finds the row below which it does."""
        if self.handler.target.parent is None:
            pytest.skip("the type creates nothing")
        return self.handler.target.parent

    def changed_meanwhile(self, scene: Scene) -> tuple[Row, str]:
        """A target that somebody has changed, and the version that it had before."""
        target = self.target(scene.world, scene.inspection)
        (entry,) = push(scene.client(self.allowed[-2]), self.change(target))["success"]
        assert entry["updated_at"] > to_wire(target.updated_at), "`payload` must change something"
        return target, to_wire(target.updated_at)

    def stored(self, scene: Scene) -> list[dict[str, Any]]:
        """All rows that an operation of this handler may change."""
        models = {self.handler.target.model, *(each.model for each in self.handler.rows.values())}
        names = sorted(models, key=lambda model: str(model.__name__))
        return [_columns(row) for model in names for row in scene.world.all(model)]

    def assert_refused(
        self, scene: Scene, who: str, items: Sequence[Mapping[str, Any]], code: str
    ) -> list[dict[str, Any]]:
        """All these items are refused with `code`, and nothing is shown or recorded; the entries."""
        client, recorded = scene.client(who), scene.world.recorded()
        results = push(client, *items)
        assert results["success"] == results["conflicts"] == []
        for entry in results["errors"]:
            assert entry["code"] == code, entry
            assert set(entry) <= ERROR_KEYS, "an error shows no data"
        assert scene.world.recorded() == recorded
        return results["errors"]

    def assert_constant(self, scene: Scene, kind: str, items: Sequence[Mapping[str, Any]]) -> None:
        """One item takes as many statements as all the others together."""
        client = scene.client(self.allowed[-1])
        push(client, *items[:0])
        counts = []
        for batch in (items[:1], items[1:]):
            with statements_of(scene.app) as found:
                push(client, *batch)
            counts.append(len(found))
        assert counts[0] == counts[1], f"{kind}: 1 item takes {counts[0]} statements, {len(items) - 1} take {counts[1]}"


def _missing_id(target: ById) -> Any:
    """An id that no row has."""
    is_text = isinstance(inspect(target.model).primary_key[0].type, String)
    return str(uuid4()) if is_text else MAX_INTEGER


def _replaced(payload: Mapping[str, Any], values: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """The payload with each of its values replaced by each of `values`."""
    for name in payload:
        for value in values:
            yield {**payload, name: value}


def _columns(row: Row) -> dict[str, Any]:
    return {each.key: getattr(row, each.key) for each in inspect(type(row)).column_attrs}
