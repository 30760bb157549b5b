"""What a plugin's code may try at run time: it hits its own items, the session stays the core's, and it ends.

`test_isolation.py` has the deeds that raise; here are those that would go unnoticed, or never come back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient
from marshmallow import INCLUDE, Schema, ValidationError, pre_load, validates_schema
from sqlalchemy import text, update

from app import policies
from app.api import offline_data
from app.core.database.engine import db
from app.core.database.transactions import snapshot
from app.core.host import watch
from app.core.host.endings import Marks, keep_endings
from app.core.host.registry import Registered
from app.errors import TryAgainError
from app.http import metrics
from app.http.body import MAX_DETAIL_KEY, MAX_DETAILS
from app.models import FormFill, Inspection, LedgerEntry, LedgerOperation, User
from app.plugin_api import Context, Operation, Outcome, Rejected, SyncHandler, by_id, edit
from app.testing import World, push, statements_of
from tests.core.sync.conftest import stored
from tests.support.answers import json_of
from tests.support.rows import target_of

Deed = Callable[[Operation, Context], Any]

#: What an item's failure leaves in the database is tested on both, in `test_isolation.py` and below; in these tests it
#: is found in Python, before or after the database's work.
about_answers = pytest.mark.database("sqlite")


def raise_(error: BaseException) -> Any:
    raise error


class AnySchema(Schema):
    class Meta:
        unknown = INCLUDE


def install(app: Flask, **parts: Any) -> None:
    """Let this application know the type `careless`."""
    given: dict[str, Any] = {"schema": AnySchema, "target": by_id(FormFill), "policy": policies.change, "apply": edit}
    handler = SyncHandler(type="careless", **{**given, **parts})
    registry = app.extensions["fieldpost.registry"]
    registry.handlers["careless"] = Registered(
        handler=handler, entry_point="careless:handler", distribution="careless", version="1"
    )
    registry.routes["careless"] = handler


def swallowed(deed: Deed) -> Deed:
    """The deed of an author who has learnt to be on the safe side."""

    def careful(operation: Operation, context: Context) -> None:
        try:
            deed(operation, context)
        except BaseException as error:
            logging.getLogger(__name__).info("swallowed", exc_info=error)

    return careful


def assign_to_a_new_row(operation: Operation, context: Context) -> None:
    row = context.create(FormFill, operation.target, {"form_template_id": target_of(operation).form_template_id})
    row.data = {"unrecorded": True}


def edit_a_new_row_in_place(operation: Operation, context: Context) -> None:
    row = context.create(FormFill, operation.target, {"form_template_id": 1, "data": {"list": []}})
    row.data["list"].append("unrecorded")


#: It begins like a query.
WITH_UPDATE = "WITH x AS (SELECT 1) UPDATE inspections SET notes = 'unrecorded'"
WITH_VALUE = "WITH x AS (SELECT 1) UPDATE inspections SET notes = :notes"

DEEDS: dict[str, Deed] = {
    "commits": lambda *_: db.session.commit(),
    "rolls back": lambda *_: db.session.rollback(),
    "closes": lambda *_: db.session.close(),
    "removes": lambda *_: db.session.remove(),
    "commits and swallows": swallowed(lambda *_: db.session.commit()),
    "rolls back and swallows": swallowed(lambda *_: db.session.rollback()),
    "writes": lambda *_: db.session.execute(update(Inspection).values(notes="unrecorded")),
    "writes and swallows": swallowed(lambda *_: db.session.execute(update(Inspection).values(notes="unrecorded"))),
    "writes in a WITH": lambda *_: db.session.execute(text(WITH_UPDATE)),
    "writes in a WITH and swallows": swallowed(lambda *_: db.session.execute(text(WITH_UPDATE))),
    "writes in a WITH with a value": lambda *_: db.session.execute(text(WITH_VALUE), {"notes": "unrecorded"}),
    "writes in a WITH with values": lambda *_: db.session.connection().execute(
        text(WITH_VALUE), [{"notes": "unrecorded"}, {"notes": "again"}]
    ),
    "writes in a second statement": lambda *_: db.session.execute(text("SELECT 1; UPDATE inspections SET notes = 'x'")),
    "makes a table": lambda *_: db.session.execute(text("SELECT * INTO stolen FROM users")),
    "writes to explain it": lambda *_: db.session.execute(text("EXPLAIN ANALYZE UPDATE inspections SET notes = 'x'")),
    "writes on the connection": lambda *_: db.session.connection().execute(text("DELETE FROM form_fills")),
    "ends the transaction in SQL": lambda *_: db.session.execute(text("COMMIT")),
    "edits in place": lambda operation, _: target_of(operation).data.update(unrecorded=True),
    "edits deep in place": lambda operation, _: target_of(operation).data["list"].append("unrecorded"),
    "edits in place and swallows": swallowed(lambda operation, _: target_of(operation).data.clear()),
    "assigns to a new row": assign_to_a_new_row,
    "edits a new row in place": edit_a_new_row_in_place,
}

#: Nothing has happened, so there is nothing to refuse: the list could not be edited, and nobody was told.
HARMLESS = {"edits in place and swallows"}


@pytest.fixture
def form_fill(world: World, inspection: Inspection) -> FormFill:
    return world.form_fill(inspection, data={"a": 0, "b": 0, "list": [], "map": {}})


def item(form_fill: FormFill, name: str, **more: Any) -> dict[str, Any]:
    return {"type": "careless", "local_id": name, "data": {"id": form_fill.id, name: 1, **more}}


@pytest.mark.parametrize("name", DEEDS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_handler_does_behind_the_core_hits_its_own_item_only(
    app: Flask, world: World, device: FlaskClient, inspection: Inspection, form_fill: FormFill, name: str, when: str
) -> None:
    def apply(operation: Operation, context: Context) -> Outcome:
        guilty = operation.data.get("guilty")
        if guilty == "before":
            DEEDS[name](operation, context)
        context.change(operation.target, {key: each for key, each in operation.data.items() if key != "guilty"})
        if guilty == "after":
            DEEDS[name](operation, context)
        return Outcome()

    install(app, apply=apply)
    sent = [item(form_fill, "first"), item(form_fill, "guilty_one", guilty=when), item(form_fill, "last")]
    results = push(device, *sent)
    expected = {"a": 0, "b": 0, "list": [], "map": {}, "first": 1, "last": 1}
    if name in HARMLESS:
        expected["guilty_one"] = 1
    else:
        assert [(each["index"], each["code"]) for each in results["errors"]] == [(1, "handler_failed")]
    assert stored(world, form_fill) == expected
    assert world.get(Inspection, inspection.id).notes is None
    assert len(world.all(FormFill)) == 1
    heads = [each.position for each in world.all(LedgerOperation) if each.door == "sync"]
    assert heads == [each["index"] for each in results["success"]]


def test_what_is_stored_is_what_the_ledger_tells(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    def apply(operation: Operation, context: Context) -> Outcome:
        fresh = {**target_of(operation).data["map"], "x": 1}
        context.change(operation.target, {"map": fresh, "list": [*target_of(operation).data["list"], 1]})
        fresh["y"] = "too late"
        return Outcome()

    install(app, apply=apply)
    push(device, item(form_fill, "x"))
    entry = world.all(LedgerEntry)[-1]
    assert entry.changes["map"] == {"old": {}, "new": {"x": 1}}
    assert stored(world, form_fill)["map"] == {"x": 1}
    assert stored(world, form_fill)["list"] == [1]


def test_a_handler_may_change_and_delete_the_rows_that_it_has_created(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    def apply(operation: Operation, context: Context) -> Outcome:
        assert operation.target is not None
        values = {"form_template_id": operation.target.form_template_id, "data": {"x": 0}}
        kept, dropped = (context.create(FormFill, operation.target, values) for _ in range(2))
        context.change(kept, {"x": 1})
        context.delete(dropped)
        return Outcome(row=kept)

    install(app, apply=apply)
    (entry,) = push(device, item(form_fill, "x"))["success"]
    assert entry["data"] == {"x": 1}
    assert [row.data for row in world.all(FormFill) if row.id != form_fill.id] == [{"x": 1}]


def promote(operation: Operation, context: Context) -> None:
    """Give the user more rights than they have, in every way that there is."""
    user: Any = context.user
    with suppress(AttributeError):
        user.role = "admin"
    with suppress(AttributeError):
        object.__setattr__(user, "role", "admin")
    with suppress(AttributeError):
        user.__dict__["role"] = "admin"
    row = db.session.get(User, user.id)
    assert row is not None
    row.__dict__["role"] = "admin"


@pytest.mark.parametrize("where", ["apply", "policy"])
def test_no_plugin_can_change_how_later_items_are_judged(
    app: Flask, world: World, device: FlaskClient, owner: User, form_fill: FormFill, where: str
) -> None:
    def apply(operation: Operation, context: Context) -> Outcome:
        if where == "apply":
            promote(operation, context)
        return edit(operation, context)

    def policy(user: Any, row: Any) -> bool:
        if where == "policy":
            promote(Operation, SimpleNamespace(user=user))  # type: ignore[arg-type]
        return policies.change(user, row)

    install(app, apply=apply, policy=policy)
    strange = world.form_fill(world.inspection(owner), data={})
    later = {"type": "form_fill", "local_id": "2", "data": {"id": strange.id, "changes": {"x": 1}}}
    results = push(device, item(form_fill, "x"), later)
    assert [each["code"] for each in results["errors"]] == ["forbidden"]
    assert stored(world, strange) == {}


def test_a_handler_may_look_things_up_and_use_savepoints(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    def apply(operation: Operation, context: Context) -> Outcome:
        with db.session.begin_nested():
            assert db.session.get(Inspection, target_of(operation).inspection_id) is not None
        return edit(operation, context)

    install(app, apply=apply)
    assert push(device, item(form_fill, "x"))["success"]


#: What a hook of an entity may do instead of returning a JSON object.
FAULTS: dict[str, Callable[[], Any]] = {
    "raises": lambda: raise_(KeyError("a hook's bug")),
    "is cancelled": lambda: raise_(asyncio.CancelledError()),
    "answers the request": lambda: raise_(TryAgainError()),
    "returns a Decimal": lambda: {"price": Decimal("1.5")},
    "returns a surrogate": lambda: {"text": "\ud800"},
    "returns a list": lambda: ["x"],
    "returns nothing": lambda: None,
    "returns too much": lambda: {"text": "x" * 5_000_000},
}


@about_answers
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("hook", ["expose", "conflict"])
def test_a_hook_that_fails_while_answers_are_completed_hits_its_own_item_only(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill, hook: str, fault: str
) -> None:
    entity, usual = FormFill.__entity__, getattr(FormFill.__entity__, hook)

    def failing(row: FormFill, *more: Any) -> Any:
        return FAULTS[fault]() if "guilty" in row.data else usual(row, *more)

    install(app)
    innocent = world.form_fill(world.get(Inspection, form_fill.inspection_id))
    object.__setattr__(entity, hook, failing)
    try:
        stale = {"updated_at": "2020-01-01T00:00:00Z"}
        strategy = {} if hook == "conflict" else {"resolve_strategy": "use_local"}
        results = push(
            device, item(form_fill, "guilty"), item(form_fill, "x", **stale, **strategy), item(innocent, "y")
        )
    finally:
        object.__setattr__(entity, hook, usual)
    failed = 0 if hook == "expose" else 1
    assert [(each["index"], each["code"]) for each in results["errors"]] == [(failed, "handler_failed")]
    assert [each["index"] for each in results["success"]] == [index for index in range(3) if index != failed]
    assert ("guilty" in stored(world, form_fill)) == (hook == "conflict")


def test_an_operation_whose_answer_cannot_be_completed_is_taken_back_in_memory_too(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    """Otherwise the same change, sent by a later item, would pass for no change, and be answered but not stored."""
    entity, usual = FormFill.__entity__, FormFill.__entity__.expose
    bugs = [KeyError("a hook's bug"), KeyError("a hook's bug")]

    def failing_twice(row: FormFill, fields: dict[str, Any]) -> Any:
        if bugs:
            raise bugs.pop()
        return usual(row, fields) if usual else fields

    install(app)
    object.__setattr__(entity, "expose", failing_twice)
    try:
        results = push(device, item(form_fill, "x"), item(form_fill, "x"))
    finally:
        object.__setattr__(entity, "expose", usual)
    assert [each["index"] for each in results["errors"]] == [0]
    assert [each["index"] for each in results["success"]] == [1]
    assert stored(world, form_fill)["x"] == 1


def test_a_result_that_is_too_large_hits_its_own_item_only(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    def apply(operation: Operation, context: Context) -> Outcome:
        context.change(operation.target, {"n": operation.data["size"]})
        return Outcome(result={"text": "x" * operation.data["size"]})

    install(app, apply=apply)
    results = push(device, item(form_fill, "a", size=5000), item(form_fill, "b", size=4000))
    assert [each["index"] for each in results["errors"]] == [0]
    assert stored(world, form_fill)["n"] == 4000


#: What `apply` may do, and the core has to send.
REFUSALS: dict[str, Callable[[], Any]] = {
    "a Decimal": lambda: raise_(Rejected("odd", "Odd", details={"price": [Decimal(1)]})),
    "an object": lambda: raise_(Rejected("odd", "Odd", details={"price": object()})),
    "a number as a key": lambda: raise_(Rejected("odd", "Odd", details={1: ["Odd"]})),  # type: ignore[dict-item]
    "no object": lambda: raise_(Rejected("odd", "Odd", details=["Odd"])),  # type: ignore[arg-type]
    "a surrogate": lambda: raise_(Rejected("odd", "Odd", details={"text": ["\ud800"]})),
    "an exception": lambda: raise_(Rejected("odd", ValueError("Odd"))),  # type: ignore[arg-type]
    "a list as the code": lambda: raise_(Rejected(["odd"], "Odd")),  # type: ignore[arg-type]
    "a long sentence": lambda: raise_(Rejected("odd", "x" * 1_000_000)),
    "many details": lambda: raise_(Rejected("odd", "Odd", details={str(n): ["Odd"] for n in range(9999)})),
    "invalid with a Decimal": lambda: raise_(ValidationError({"price": [Decimal(1)]})),
    "a message that is no text": lambda: Outcome(message=Decimal(1)),  # type: ignore[arg-type]
    "a message that is too long": lambda: Outcome(message="x" * 256),
    "a result with a surrogate": lambda: Outcome(result={"text": "\ud800"}),
    "a result with a Decimal": lambda: Outcome(result={"price": Decimal(1)}),
}


@about_answers
@pytest.mark.parametrize("hook", ["apply", "changes", "upcast"])
@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_sent_fails_alone_at_each_retry(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill, hook: str, name: str
) -> None:
    def guilty(data: Any) -> bool:
        return "guilty" in data

    def apply(operation: Operation, context: Context) -> Outcome:
        outcome = edit(operation, context)
        return REFUSALS[name]() if guilty(operation.data) else outcome

    hooks = {"apply": apply, hook: lambda data: REFUSALS[name]() if guilty(data) else data}
    install(app, **{**hooks, "apply": apply})
    sent = [item(form_fill, "first"), item(form_fill, "guilty"), item(form_fill, "last")]
    for is_retry in (None, True):
        results = push(device, *sent)
        assert [(each["index"], each.get("replayed")) for each in results["success"]] == [(0, is_retry), (2, is_retry)]
        assert [(each["index"], each["code"]) for each in results["errors"]] == [(1, "handler_failed")]
    assert stored(world, form_fill) == {"a": 0, "b": 0, "list": [], "map": {}, "first": 1, "last": 1}


def test_a_retry_is_answered_with_the_result_as_it_was_first_sent(
    app: Flask, device: FlaskClient, form_fill: FormFill
) -> None:
    given = {"at": datetime(2024, 3, 15, tzinfo=UTC), "list": [1, float("nan")]}

    def apply(operation: Operation, context: Context) -> Outcome:
        return Outcome(result=given)

    install(app, apply=apply)
    (first,), (second,) = (push(device, item(form_fill, "x"))["success"] for _ in range(2))
    assert first["result"] == second["result"] == {"at": "2024-03-15T00:00:00+00:00", "list": [1, None]}
    assert second["replayed"]


def test_work_is_not_acknowledged_after_a_hook_has_swallowed_an_error_of_the_database(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    entity, usual = FormFill.__entity__, FormFill.__entity__.expose

    def expose(row: FormFill, fields: dict[str, Any]) -> dict[str, Any]:
        if "guilty" in fields:
            with suppress(Exception):
                db.session.execute(text("SELECT nonsense FROM nowhere"))
        return fields

    install(app)
    innocent = world.form_fill(world.get(Inspection, form_fill.inspection_id))
    object.__setattr__(entity, "expose", expose)
    try:
        results = push(device, item(innocent, "first"), item(form_fill, "guilty"), item(innocent, "last"))
    finally:
        object.__setattr__(entity, "expose", usual)
    applied = {each["local_id"] for each in results["success"]}
    assert applied >= {"first", "last"}
    assert applied == (stored(world, innocent).keys() | stored(world, form_fill).keys()) & {"first", "guilty", "last"}


def test_a_refusal_of_very_many_fields_names_a_few_of_them(
    app: Flask, device: FlaskClient, form_fill: FormFill
) -> None:
    install(app, schema=Schema)
    many = {"id": form_fill.id, **dict.fromkeys(map(str, range(9999)))}
    long = {"id": form_fill.id, "x" * 100_000: 1}
    items = [{"type": "careless", "local_id": str(len(data)), "data": data} for data in (many, long)]
    errors = push(device, *items)["errors"]
    assert [each["code"] for each in errors] == ["invalid", "invalid"]
    assert len(errors[0]["details"]) == MAX_DETAILS
    assert list(errors[1]["details"]) == ["x" * MAX_DETAIL_KEY]


def test_a_refusal_keeps_the_messages_that_have_room(app: Flask, device: FlaskClient, form_fill: FormFill) -> None:
    class LoudSchema(Schema):
        @validates_schema
        def refuse(self, data: Any, **_: Any) -> None:
            raise ValidationError({"quiet": ["no"], "loud": ["NO" * 100_000]})

    install(app, schema=LoudSchema)
    (error,) = push(device, {"type": "careless", "local_id": "1", "data": {"id": form_fill.id}})["errors"]
    assert (error["code"], error["details"]) == ("invalid", {"quiet": ["no"]})
    assert error["message"] == "1 more fields were refused than `details` has room for."


def test_a_conflict_over_a_value_that_is_no_json_fails_alone(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    install(app, changes=lambda data: {name: Decimal(value) for name, value in data.items()})
    innocent = world.form_fill(world.get(Inspection, form_fill.inspection_id))
    stale = item(form_fill, "x", updated_at="2020-01-01T00:00:00Z")
    good = {"type": "form_fill", "local_id": "good", "data": {"id": innocent.id, "changes": {"a": 1}}}
    results = push(device, stale, good)
    assert [(each["index"], each["code"]) for each in results["errors"]] == [(0, "handler_failed")]
    assert [each["index"] for each in results["success"]] == [1]


def test_an_answer_whose_row_cannot_be_shown_in_the_end_stays_as_it_was_before(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    entity, usual = FormFill.__entity__, FormFill.__entity__.expose

    def expose(row: FormFill, fields: dict[str, Any]) -> dict[str, Any]:
        return raise_(KeyError("a hook's bug")) if "guilty" in row.data else fields

    install(app, versioned=False)
    object.__setattr__(entity, "expose", expose)
    try:
        good = {"type": "form_fill", "local_id": "good", "data": {"id": form_fill.id, "changes": {"b": 2}}}
        results = push(device, good, item(form_fill, "guilty"))
    finally:
        object.__setattr__(entity, "expose", usual)
    assert [each["index"] for each in results["success"]] == [0, 1]
    assert results["success"][0]["data"] == {"a": 0, "b": 2, "list": [], "map": {}}
    assert stored(world, form_fill)["guilty"] == 1


# Code that does not end


class Stopwatch:
    """The time in which plugins' code is measured: it passes in guilty code alone.

    On the clock of a busy machine, innocent code takes its time, too.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        #: Whether an interrupt has been sent.
        self.has_interrupted = threading.Event()

    def monotonic(self) -> float:
        return self.seconds


stopwatch = Stopwatch()


@pytest.fixture
def timed_by_stopwatch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures plugins' code by the stopwatch."""
    usual = watch._send

    def send(thread: int, error: type[BaseException] | None) -> None:
        usual(thread, error)
        stopwatch.has_interrupted.set()

    monkeypatch.setattr(watch, "time", stopwatch)
    monkeypatch.setattr(watch, "_send", send)
    stopwatch.has_interrupted.clear()


@pytest.fixture
def impatient(app: Flask, timed_by_stopwatch: None) -> None:
    """Less time for handlers than can be configured."""
    object.__setattr__(app.extensions["fieldpost.settings"], "handler_seconds", 0.05)


def spin() -> None:
    while True:
        stopwatch.seconds += 0.001


def spin_and_swallow() -> None:
    while True:
        try:
            spin()
        except Exception:
            continue


def sleep() -> None:
    """Interrupted only once the call comes back: a call into C cannot be."""
    stopwatch.seconds += 1
    stopwatch.has_interrupted.wait()


class SpinningSchema(AnySchema):
    @pre_load
    def spin(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if data.get("guilty"):
            spin()
        return data


def spinning(run: Callable[[], None]) -> Callable[..., Any]:
    def apply(operation: Operation, context: Context) -> Outcome:
        context.change(operation.target, {operation.local_id: 1})
        if operation.data.get("guilty"):
            run()
        return Outcome()

    return apply


def spinning_policy(user: Any, row: FormFill) -> bool:
    if "guilty" in row.data:
        spin()
    return policies.change(user, row)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("run", [spin, spin_and_swallow, sleep])
def test_an_apply_that_does_not_end_is_interrupted_and_fails_alone(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill, run: Callable[[], None]
) -> None:
    install(app, apply=spinning(run))
    results = push(device, item(form_fill, "a"), item(form_fill, "b", guilty=True), item(form_fill, "c"))
    assert [(each["index"], each["code"], each["retryable"]) for each in results["errors"]] == [
        (1, "handler_failed", True)
    ]
    assert stored(world, form_fill) == {"a": 1, "b": 0, "list": [], "map": {}, "c": 1}
    assert push(device, item(form_fill, "d"))["success"], "the thread is as good as before"


@about_answers
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("part", ["schema", "upcast", "policy", "changes"])
def test_no_other_part_of_a_handler_can_hang_either(
    app: Flask, world: World, device: FlaskClient, inspection: Inspection, form_fill: FormFill, part: str
) -> None:
    parts: dict[str, Any] = {
        "schema": SpinningSchema,
        "upcast": lambda data: spin() if data.get("guilty") else data,
        "policy": spinning_policy,
        "changes": lambda data: spin() if data.get("guilty") else data,
    }
    install(app, **{part: parts[part]})
    guilty = world.form_fill(inspection, data={"guilty": True})
    results = push(device, item(form_fill, "a"), item(guilty, "b", guilty=True), item(form_fill, "c"))
    assert [each["index"] for each in results["errors"]] == [1]
    assert stored(world, form_fill) == {"a": 1, "b": 0, "list": [], "map": {}, "c": 1}


@pytest.mark.usefixtures("impatient")
def test_no_hook_of_an_entity_can_hang_while_answers_are_completed(
    app: Flask, world: World, device: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    entity, usual = FormFill.__entity__, FormFill.__entity__.expose
    assert usual is not None

    def expose(row: FormFill, fields: dict[str, Any]) -> dict[str, Any]:
        if "guilty" in fields:
            spin()
        return usual(row, fields)

    install(app)
    innocent = world.form_fill(inspection)
    object.__setattr__(entity, "expose", expose)
    try:
        results = push(device, item(innocent, "a"), item(form_fill, "guilty"), item(innocent, "c"))
    finally:
        object.__setattr__(entity, "expose", usual)
    assert [(each["index"], each["code"]) for each in results["errors"]] == [(1, "handler_failed")]
    assert stored(world, innocent) == {"a": 1, "c": 1}
    assert "guilty" not in stored(world, form_fill)


@about_answers
@pytest.mark.usefixtures("impatient")
def test_many_items_that_do_not_end_cost_no_more_than_a_few(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    interrupted = []

    def count_and_spin() -> None:
        interrupted.append(True)
        spin()

    install(app, apply=spinning(count_and_spin))
    others = [
        {"type": "form_fill", "local_id": str(each), "data": {"id": form_fill.id, "changes": {"n": each}}}
        for each in range(5)
    ]
    results = push(device, *(item(form_fill, f"x{each}", guilty=True) for each in range(20)), *others)
    assert len(interrupted) == watch.MOST_STRIKES
    assert [each["code"] for each in results["errors"]] == ["handler_failed"] * 20
    assert len(results["success"]) == 5


@about_answers
@pytest.mark.usefixtures("impatient")
def test_what_runs_after_the_commit_cannot_hang(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    def apply(operation: Operation, context: Context) -> Outcome:
        context.after_commit(spin)
        return edit(operation, context)

    install(app, apply=apply)
    assert push(device, item(form_fill, "x"))["success"]
    assert stored(world, form_fill)["x"] == 1


@pytest.mark.usefixtures("timed_by_stopwatch")
def test_a_slow_handler_is_logged_with_its_type_and_counted(
    app: Flask, device: FlaskClient, form_fill: FormFill, caplog: pytest.LogCaptureFixture
) -> None:
    def take_two_seconds() -> None:
        stopwatch.seconds += 2

    install(app, apply=spinning(take_two_seconds))
    before = metrics.slow_handlers.labels("careless")._value.get()
    push(device, item(form_fill, "a"), item(form_fill, "b", guilty=True))
    assert metrics.slow_handlers.labels("careless")._value.get() == before + 1
    (record,) = (each for each in caplog.records if each.message == "handler slow")
    assert record.__dict__["type"] == "careless"
    assert record.__dict__["seconds"] == 2


def test_being_watched_sends_no_statement(app: Flask, device: FlaskClient, form_fill: FormFill) -> None:
    install(app)
    push(device, item(form_fill, "x"))
    with statements_of(app) as found:
        push(device, item(form_fill, "y"))
    assert not [each for each in found if "SAVEPOINT" in each]


# Code that ends the worker


@about_answers
@pytest.mark.parametrize("part", ["schema", "upcast", "policy", "apply"])
def test_an_item_at_which_two_workers_have_ended_is_not_tried_again(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill, tmp_path: Path, part: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """`tests/outsider/test_stuck.py` does it with real workers."""
    endings: list[list[str]] = []

    def end_worker() -> None:
        endings.append(keep_endings(tmp_path, os.getpid()))

    def end_if_guilty(data: Any) -> Any:
        if data.get("guilty"):
            end_worker()
        return data

    def policy(user: Any, row: Any) -> bool:
        if row.id == guilty.id:
            end_worker()
        return True

    class EndingSchema(AnySchema):
        @validates_schema
        def end(self, data: Any, **_: Any) -> None:
            end_if_guilty(data)

    def apply(operation: Operation, context: Context) -> Outcome:
        end_if_guilty(operation.data)
        return edit(operation, context)

    guilty = world.form_fill(world.get(Inspection, form_fill.inspection_id))
    parts = {"schema": EndingSchema, "upcast": end_if_guilty, "policy": policy, "apply": apply}
    install(app, **{part: parts[part]})
    for number in range(3):
        marks = Marks(tmp_path)
        monkeypatch.setattr(watch, "marks_of_process", lambda found=marks: found)
        tried = len(endings)
        sent = [item(form_fill, "first"), item(guilty, "x", guilty=True), item(form_fill, "last")]
        # Each time as if the batch had not been applied.
        results = push(device, *({**each, "local_id": f"{each['local_id']} {number}"} for each in sent))
        assert (len(endings) > tried) == (number < 2)
    assert [(each["index"], each["code"], each["retryable"]) for each in results["errors"]] == [
        (1, "handler_failed", True)
    ]
    assert [each["index"] for each in results["success"]] == [0, 2]
    assert len([each for each in endings if each]) == 2


# Types that are no more


def test_a_type_that_a_plugin_has_removed_is_told_what_the_plugin_says(app: Flask, device: FlaskClient) -> None:
    app.extensions["fieldpost.registry"].removed["old_reading"] = "Update the app: readings are sent as meter_reading."
    (entry,) = push(device, {"type": "old_reading", "local_id": "1", "data": {}})["errors"]
    assert entry["code"] == "invalid_type"
    assert entry["message"].startswith(
        "Update the app: readings are sent as meter_reading. This server knows: form_fill"
    )


def test_a_type_of_a_plugin_that_is_gone_is_told_to_be_kept(app: Flask, device: FlaskClient) -> None:
    (entry,) = push(device, {"type": "gone", "local_id": "1", "data": {}})["errors"]
    assert (entry["code"], entry["retryable"]) == ("invalid_type", False)
    assert "may be missing here, or removed" in entry["message"]


def test_a_rejection_by_a_hook_is_no_bug(app: Flask, device: FlaskClient, form_fill: FormFill) -> None:
    def changes(_data: Any) -> Any:
        raise Rejected("full", "The list is full")

    install(app, changes=changes)
    (entry,) = push(device, item(form_fill, "x"))["errors"]
    assert entry["code"] == "full"


@pytest.fixture(params=sorted(FAULTS.keys() - {"returns too much"}))
def marked(request: pytest.FixtureRequest, form_fill: FormFill) -> Iterator[FormFill]:
    """A form fill of which the `record` hook does something else than returning a JSON object."""
    entity, usual = FormFill.__entity__, FormFill.__entity__.record
    assert usual is not None
    deed, key = FAULTS[request.param], form_fill.id
    object.__setattr__(entity, "record", lambda row: deed() if row.id == key else usual(row))
    yield form_fill
    object.__setattr__(entity, "record", usual)


def require_marks(records: list[dict[str, Any]], marked: FormFill, other: FormFill) -> None:
    """Of the two rows one is marked, without its content, and the other one is whole."""
    first, second = records
    assert first.keys() == {"id", "inspection_id", "created_at", "updated_at", "unreadable"}
    assert (first["id"], first["inspection_id"], first["unreadable"]) == (marked.id, marked.inspection_id, True)
    assert second["id"] == other.id
    assert "unreadable" not in second


def test_a_row_whose_record_hook_fails_is_marked_and_keeps_nobody_from_the_others(
    world: World, device: FlaskClient, inspection: Inspection, marked: FormFill, caplog: pytest.LogCaptureFixture
) -> None:
    other = world.form_fill(inspection)
    changes = json_of(device.get("/api/v1/sync/changes"))["data"]["changes"]
    require_marks([each["record"] for each in changes if each["entity"] == "form_fill"], marked, other)
    (told,) = [each.__dict__ for each in caplog.records if each.message == "record failed"]
    assert (told["entity"], told["id"]) == ("form_fill", marked.id)


def test_an_offline_package_marks_the_rows_of_plugins_in_the_same_way(
    app: Flask, world: World, inspection: Inspection, marked: FormFill, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = world.form_fill(inspection)
    # As if the form fills came from a plugin.
    monkeypatch.setattr(offline_data, "models_below", lambda _models: [FormFill])
    with app.app_context(), snapshot(db.session()):
        rows = orjson.loads(orjson.dumps(offline_data._plugin_rows(db.session(), inspection.id)))
    require_marks(rows["form_fill"], marked, other)


def test_a_row_whose_record_hook_raises_is_marked_in_a_package_too(
    device: FlaskClient, inspection: Inspection, form_fill: FormFill, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_row: Any) -> Any:
        raise SystemExit

    usual = FormFill.__entity__
    monkeypatch.setattr(FormFill, "__entity__", replace(usual, record=fail))
    answer = device.get(f"/api/v1/inspections/{inspection.id}/offline_data")
    (shown,) = json_of(answer)["data"]["form_fills"]
    assert (shown["id"], shown["unreadable"], "data" in shown) == (form_fill.id, True, False)
