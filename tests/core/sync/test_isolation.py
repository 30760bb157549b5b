"""One item's failure changes nothing for the others, whatever a handler does (contract, section 3).

The handlers here are a careless stranger's: registered for one test, they raise, break constraints, or act behind
their context's back whenever the payload tells them to.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient
from marshmallow import INCLUDE, Schema, ValidationError, post_load
from sqlalchemy import text

from app import policies
from app.clock import to_wire
from app.core.database.engine import db
from app.core.host.registry import Registered
from app.core.ledger.unit import unit_of_work
from app.errors import NotFoundError, TryAgainError
from app.models import Attachment, FormFill, Inspection, LedgerEntry, LedgerOperation, User
from app.plugin_api import Context, Operation, Outcome, Rejected, SyncHandler, by_id, edit
from app.testing import push
from tests.conftest import SignIn, World
from tests.core.sync.conftest import stored
from tests.support.rows import target_of

#: What a test wants a guilty operation to do, before or after it has changed its target.
Deed = Callable[[Operation, Context], Any]


class AnySchema(Schema):
    class Meta:
        unknown = INCLUDE


def raise_(error: BaseException) -> Any:
    raise error


def break_a_constraint(operation: Operation, context: Context) -> None:
    """A status that the database refuses, but only when it is written."""
    context.change(target_of(operation).inspection, {"status": "nonsense"})


def assign(operation: Operation, context: Context) -> None:
    target_of(operation).data = {"assigned": True}


def assign_the_inspection(operation: Operation, context: Context) -> None:
    target_of(operation).inspection.notes = "assigned"


def add(operation: Operation, context: Context) -> None:
    db.session.add(User(email="x@example.com", name="X", role="admin", active=True, password_hash="x"))


def remove(operation: Operation, context: Context) -> None:
    db.session.delete(operation.target)


def flush(operation: Operation, context: Context) -> None:
    assign(operation, context)
    db.session.flush()


def query_nonsense(operation: Operation, context: Context) -> None:
    db.session.execute(text("SELECT nonsense FROM nowhere"))


def change_what_is_not_declared(operation: Operation, context: Context) -> None:
    context.change(db.session.get(Inspection, target_of(operation).inspection_id), {"notes": "undeclared"})


def delete_what_is_not_declared(operation: Operation, context: Context) -> None:
    others = db.session.query(FormFill).filter(FormFill.id != target_of(operation).id)
    context.delete(others.first())


def set_an_unknown_column(operation: Operation, context: Context) -> None:
    context.create(FormFill, operation.target, {"form_template_id": 1, "no_such_column": 1})


def create_for_a_template_that_is_not_there(operation: Operation, context: Context) -> None:
    context.create(FormFill, operation.target, {"form_template_id": 4711, "data": {}})


def spoil_the_payload(operation: Operation, context: Context) -> None:
    operation.data["n"] = "spoilt"  # type: ignore[index]
    raise ValueError


def look_at_what_is_not_loaded(operation: Operation, context: Context) -> None:
    target_of(operation).form_template.name  # noqa: B018


DEEDS: dict[str, Deed] = {
    "raises": lambda *_: raise_(ValueError("a plugin's bug")),
    "exits": lambda *_: raise_(SystemExit(3)),
    "is cancelled": lambda *_: raise_(asyncio.CancelledError()),
    "ends a generator": lambda *_: raise_(GeneratorExit()),
    "ends an iterator": lambda *_: raise_(StopIteration()),
    "raises what is no Exception": lambda *_: raise_(BaseException("a plugin's bug")),
    "raises a group": lambda *_: raise_(BaseExceptionGroup("bugs", [BaseException()])),
    "recurses": lambda *_: raise_(RecursionError()),
    "aborts like a view": lambda *_: abort(404),
    "answers like a view": lambda *_: raise_(NotFoundError()),
    "asks for patience": lambda *_: raise_(TryAgainError()),
    "breaks a foreign key": create_for_a_template_that_is_not_there,
    "assigns": assign,
    "assigns to the inspection": assign_the_inspection,
    "adds": add,
    "deletes": remove,
    "flushes": flush,
    "sends bad SQL": query_nonsense,
    "changes what it did not declare": change_what_is_not_declared,
    "deletes what it did not declare": delete_what_is_not_declared,
    "sets an unknown column": set_an_unknown_column,
    "spoils its payload": spoil_the_payload,
    "looks at what is not loaded": look_at_what_is_not_loaded,
    "returns nothing": lambda *_: "nothing",
    "returns too much": lambda *_: Outcome(result={"text": "x" * 5000}),
    "returns no JSON": lambda *_: Outcome(result={"x": object()}),
}


@pytest.fixture(params=DEEDS, ids=lambda name: name.replace(" ", "_"))
def deed(request: pytest.FixtureRequest) -> Deed:
    return DEEDS[request.param]


def register(app: Flask, handler: SyncHandler) -> None:
    """Let this application know the handler, as if it were installed."""
    registry = app.extensions["fieldpost.registry"]
    registry.handlers[handler.type] = Registered(
        handler=handler, entry_point="careless:handler", distribution="careless", version="1"
    )
    registry.routes[handler.type] = handler


@pytest.fixture
def careless(app: Flask, deed: Deed) -> None:
    """`careless` changes its form fill, and does the deed where `guilty` is sent: `before` or `after`."""

    def apply(operation: Operation, context: Context) -> Outcome:
        guilty = operation.data.get("guilty")
        outcome = deed(operation, context) if guilty == "before" else None
        if outcome is not None:
            return None if outcome == "nothing" else outcome  # type: ignore[return-value]
        context.change(operation.target, {operation.data["name"]: operation.data["n"]})
        if guilty == "after":
            outcome = deed(operation, context)
            return None if outcome == "nothing" else outcome or Outcome()  # type: ignore[return-value]
        return Outcome(result={"n": operation.data["n"]})

    handler = SyncHandler(
        type="careless", schema=AnySchema, target=by_id(FormFill), policy=policies.change, apply=apply
    )
    register(app, handler)


def item(form_fill: FormFill, name: str, **more: Any) -> dict[str, Any]:
    return {"type": "careless", "local_id": name, "data": {"id": form_fill.id, "name": name, "n": 1, **more}}


#: Deeds that a whole batch of 100 is tried with: an exception in Python, in the database, and a finding of ours.
#: The others differ in the deed alone, and meet both rows before and after it in a batch of 8.
WITH_100 = [DEEDS[name] for name in ("raises", "breaks a foreign key", "flushes")]


@pytest.mark.usefixtures("careless")
@pytest.mark.parametrize("when", ["before", "after"])
def test_one_guilty_item_of_many_fails_alone(
    world: World, device: FlaskClient, inspection: Inspection, form_fill: FormFill, deed: Deed, when: str
) -> None:
    count = 100 if deed in WITH_100 and when == "after" else 8
    half = count // 2
    others = [*range(half), *range(half + 1, count)]
    other_fill = world.form_fill(inspection)
    users = len(world.all(User))
    items = [item((form_fill, other_fill)[number % 2], f"n{number}") for number in range(count)]
    # Both rows are used again after the guilty one has touched its own.
    items[half]["data"]["guilty"] = when
    results = push(device, *items)
    (entry,) = results["errors"]
    assert (entry["index"], entry["code"], entry["error"]) == (half, "handler_failed", "Internal error")
    assert entry["retryable"] is True
    assert [each["index"] for each in results["success"]] == others
    assert stored(world, form_fill) == {"a": 0, "b": 0, **{f"n{each}": 1 for each in others if each % 2 == 0}}
    assert stored(world, other_fill) == {f"n{each}": 1 for each in range(1, count, 2)}
    assert len(world.all(User)) == users
    assert world.get(Inspection, inspection.id).notes is None
    assert len(world.all(FormFill)) == 2
    heads = [each for each in world.all(LedgerOperation) if each.door == "sync"]
    assert [each.position for each in heads] == others
    entries = [each for each in world.all(LedgerEntry) if each.unit_id == heads[0].unit_id]
    assert [each.position for each in entries] == others


@pytest.mark.usefixtures("careless")
def test_the_guilty_item_can_be_sent_again(world: World, device: FlaskClient, form_fill: FormFill) -> None:
    guilty = item(form_fill, "x", guilty="after")
    for _ in range(2):
        assert push(device, guilty)["errors"][0]["code"] == "handler_failed"
    assert stored(world, form_fill) == {"a": 0, "b": 0}
    assert push(device, item(form_fill, "x"))["success"]


@pytest.mark.parametrize("deed", ["raises", "assigns"], indirect=True)
@pytest.mark.usefixtures("careless")
def test_versions_chains_and_retries_work_in_a_second_pass_too(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    held = to_wire(form_fill.updated_at)
    first = item(form_fill, "first", updated_at=held)
    push(device, first)
    push(other, item(form_fill, "theirs"))
    results = push(
        device,
        first,
        item(form_fill, "guilty", guilty="after"),
        item(form_fill, "stale", updated_at=held),
        item(form_fill, "merged", updated_at=held, resolve_strategy="merge"),
        item(form_fill, "twice"),
        item(form_fill, "twice"),
    )
    assert [(each["index"], each.get("replayed")) for each in results["success"]] == [
        (0, True), (3, None), (4, None), (5, True),
    ]  # fmt: skip
    assert [each["index"] for each in results["errors"]] == [1]
    assert [each["index"] for each in results["conflicts"]] == [2]
    assert stored(world, form_fill).keys() == {"a", "b", "first", "theirs", "merged", "twice"}


@pytest.mark.parametrize("deed", ["assigns"], indirect=True)
@pytest.mark.usefixtures("careless")
def test_an_operation_that_failed_is_not_remembered_by_its_own_batch(
    world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    guilty = item(form_fill, "x", guilty="after")
    results = push(device, guilty, guilty)
    assert [(each["index"], each["code"]) for each in results["errors"]] == [
        (0, "handler_failed"), (1, "handler_failed"),
    ]  # fmt: skip
    assert results["success"] == []
    assert stored(world, form_fill) == {"a": 0, "b": 0}


def test_calls_that_a_failed_operation_has_asked_for_are_not_made(
    app: Flask, device: FlaskClient, form_fill: FormFill
) -> None:
    calls: list[str] = []

    def apply(operation: Operation, context: Context) -> Outcome:
        context.after_commit(lambda: calls.append(operation.local_id))
        context.change(operation.target, {"n": operation.local_id})
        if operation.data.get("guilty"):
            assign(operation, context)
        return Outcome()

    handler = SyncHandler(
        type="careless", schema=AnySchema, target=by_id(FormFill), policy=policies.change, apply=apply
    )
    register(app, handler)
    results = push(device, item(form_fill, "before"), item(form_fill, "x", guilty=True), item(form_fill, "after"))
    assert [each["local_id"] for each in results["errors"]] == ["x"]
    assert calls == ["before", "after"]


def test_a_breach_that_the_entity_has_a_sentence_for_is_invalid(
    app: Flask, world: World, device: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    taken = world.form_fill(inspection, client_id="6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0003")

    def apply(operation: Operation, context: Context) -> Outcome:
        values = {"form_template_id": taken.form_template_id, "data": {}, "client_id": taken.client_id}
        return Outcome(row=context.create(FormFill, operation.target, values))

    register(
        app,
        SyncHandler(type="twin", schema=AnySchema, target=by_id(FormFill), policy=policies.change, apply=apply),
    )
    results = push(device, {**item(form_fill, "x"), "type": "twin"}, {
        "type": "form_fill", "local_id": "good", "data": {"id": form_fill.id, "changes": {"a": 1}}
    })  # fmt: skip
    (entry,) = results["errors"]
    assert (entry["code"], entry["error"], entry["retryable"]) == ("invalid", "client_id is taken", False)
    assert len(results["success"]) == 1


def test_a_rejection_after_changes_leaves_nothing_behind(
    app: Flask, world: World, device: FlaskClient, inspection: Inspection, form_fill: FormFill
) -> None:
    photo = world.attachment(form_fill)
    calls: list[str] = []

    def apply(operation: Operation, context: Context) -> Outcome:
        context.after_commit(lambda: calls.append(operation.local_id))
        created = context.create(FormFill, operation.target, {"form_template_id": 1, "data": {}})
        context.change(created, {"x": 1})
        context.change(operation.target, {operation.data["name"]: 1})
        context.delete(operation.rows["photo"])
        if operation.data.get("guilty"):
            raise Rejected("full", "The list is full", "Delete something first.", details={"name": ["full"]})
        return Outcome(row=created, message="Done")

    register(
        app,
        SyncHandler(
            type="listing",
            schema=AnySchema,
            target=by_id(FormFill),
            rows={"photo": by_id(Attachment, "photo_id")},
            policy=policies.change,
            apply=apply,
        ),
    )
    bad = {**item(form_fill, "bad", guilty=True, photo_id=photo.id), "type": "listing"}
    good = {**item(form_fill, "good", photo_id=photo.id), "type": "listing"}
    (entry,) = push(device, bad)["errors"]
    assert entry == {
        "index": 0, "local_id": "bad", "type": "listing", "code": "full", "error": "The list is full",
        "message": "Delete something first.", "retryable": False, "details": {"name": ["full"]},
    }  # fmt: skip
    assert stored(world, form_fill) == {"a": 0, "b": 0}
    assert world.get(Attachment, photo.id).deleted_at is None
    assert len(world.all(FormFill)) == 1
    assert calls == []
    results = push(device, bad, good)
    (done,) = results["success"]
    assert done["message"] == "Done"
    assert done["data"] == {"x": 1}
    assert {each["entity"] for each in done["also"]} == {"form_fill", "attachment"}
    assert stored(world, form_fill) == {"a": 0, "b": 0, "good": 1}
    assert calls == ["good"]
    (replayed,) = push(device, good)["success"]
    assert calls == ["good"], "a retry calls nothing"
    assert replayed["server_id"] == done["server_id"]


def test_a_row_that_was_created_and_taken_back_is_not_found_by_its_client_id(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    client_id = "6b1f3c1e-3d0c-4c52-8a52-0d5f4e1f0003"

    def apply(operation: Operation, context: Context) -> Outcome:
        values = {"form_template_id": form_fill.form_template_id, "data": {}, "client_id": client_id}
        context.create(FormFill, operation.target, values)
        raise Rejected("full", "The list is full")

    handler = SyncHandler(
        type="careless", schema=AnySchema, target=by_id(FormFill), policy=policies.change, apply=apply
    )
    register(app, handler)
    change = {"type": "form_fill", "local_id": "y", "data": {"id": client_id, "changes": {"a": 1}}}
    results = push(device, item(form_fill, "x"), change)
    assert [each["code"] for each in results["errors"]] == ["full", "not_found"]
    assert len(world.all(FormFill)) == 1


def test_a_failure_after_the_commit_is_no_failure_of_the_item(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    def apply(operation: Operation, context: Context) -> Outcome:
        context.after_commit(lambda: raise_(OSError("no printer")))
        context.after_commit(lambda: raise_(asyncio.CancelledError()))
        return edit(operation, context)

    register(
        app, SyncHandler(type="printed", schema=AnySchema, target=by_id(FormFill), policy=policies.change, apply=apply)
    )
    assert push(device, {"type": "printed", "local_id": "p", "data": {"id": form_fill.id, "a": 5}})["success"]
    assert stored(world, form_fill)["a"] == 5


@pytest.mark.parametrize("error", [KeyError, asyncio.CancelledError, TryAgainError])
@pytest.mark.parametrize("where", ["making the schema", "schema", "policy", "upcast", "changes"])
def test_whatever_part_of_a_handler_raises_only_its_items_fail(
    app: Flask,
    world: World,
    device: FlaskClient,
    form_fill: FormFill,
    where: str,
    error: type[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    class RaisingSchema(AnySchema):
        def load(self, *_: Any, **__: Any) -> Any:
            raise error("schema")

    class UnmadeSchema(AnySchema):
        def __init__(self, *_: Any, **__: Any) -> None:
            raise error("making the schema")

    parts: dict[str, Any] = {
        "making the schema": {"schema": UnmadeSchema},
        "schema": {"schema": RaisingSchema},
        "policy": {"policy": lambda *_: raise_(error("policy"))},
        "upcast": {"upcast": lambda _: raise_(error("upcast"))},
        "changes": {"changes": lambda _: raise_(error("changes"))},
    }
    given: dict[str, Any] = {"schema": AnySchema, "policy": policies.change, "apply": edit, **parts[where]}
    register(app, SyncHandler(type="raising", target=by_id(FormFill), **given))
    results = push(
        device,
        {"type": "form_fill", "local_id": "1", "data": {"id": form_fill.id, "changes": {"a": 1}}},
        {"type": "raising", "local_id": "2", "data": {"id": form_fill.id, "a": "canary"}},
        {"type": "form_fill", "local_id": "3", "data": {"id": form_fill.id, "changes": {"b": 3}}},
    )
    assert [each["code"] for each in results["errors"]] == ["handler_failed"]
    assert stored(world, form_fill) == {"a": 1, "b": 3}
    (failure,) = [each for each in caplog.records if each.getMessage() == "handler failed"]
    assert failure.exc_info is not None
    told = {name: getattr(failure, name) for name in ("type", "distribution", "version", "index", "local_id")}
    assert told == {"type": "raising", "distribution": "careless", "version": "1", "index": 1, "local_id": "2"}
    assert "canary" not in caplog.text


def test_an_interrupt_in_a_servers_thread_is_a_plugins_and_in_the_main_thread_somebodys(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill
) -> None:
    def apply(operation: Operation, context: Context) -> Outcome:
        return raise_(KeyboardInterrupt()) if operation.data.get("guilty") else edit(operation, context)

    register(
        app, SyncHandler(type="careless", schema=AnySchema, target=by_id(FormFill), policy=policies.change, apply=apply)
    )
    sent = [item(form_fill, "first"), item(form_fill, "second", guilty=True)]
    answers: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(push(device, *sent)))
    thread.start()
    thread.join()
    (results,) = answers
    assert [each["index"] for each in results["success"]] == [0]
    assert [(each["index"], each["code"]) for each in results["errors"]] == [(1, "handler_failed")]
    with pytest.raises(KeyboardInterrupt):
        push(device, sent[1])


@pytest.mark.parametrize("returned", [None, [], [{"a": 1}, {"a": 1}]], ids=["nothing", "too few", "too many"])
def test_a_schema_that_loses_elements_fails_with_its_items_alone(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill, returned: Any
) -> None:
    class LosingSchema(AnySchema):
        @post_load(pass_collection=True)
        def lose(self, data: Any, *, many: bool, **_: Any) -> Any:
            return returned if many else data

    register(
        app,
        SyncHandler(type="careless", schema=LosingSchema, target=by_id(FormFill), policy=policies.change, apply=edit),
    )
    good = {"type": "form_fill", "local_id": "good", "data": {"id": form_fill.id, "changes": {"b": 3}}}
    results = push(device, item(form_fill, "x"), good)
    assert [each["index"] for each in results["success"]] == [0, 1], "loaded one by one, each is as it should be"
    assert stored(world, form_fill)["b"] == 3


@pytest.mark.parametrize("key", [2**70, "\ud800", "\0"], ids=["too large", "surrogate", "NUL"])
def test_an_upcast_that_names_a_row_which_no_database_can_look_up_fails_alone(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill, key: Any
) -> None:
    def upcast(payload: dict[str, Any]) -> dict[str, Any]:
        if payload["name"] == "raises":
            raise ValidationError("n", field_name=["n"])  # type: ignore[arg-type]
        return {**payload, "id": key}

    register(
        app,
        SyncHandler(
            type="careless",
            schema=AnySchema,
            target=by_id(FormFill),
            policy=policies.change,
            apply=edit,
            upcast=upcast,
        ),
    )
    good = {"type": "form_fill", "local_id": "good", "data": {"id": form_fill.id, "changes": {"a": 1}}}
    results = push(device, item(form_fill, "odd"), good, item(form_fill, "raises"))
    assert [each["index"] for each in results["success"]] == [1]
    assert [(each["index"], each["code"]) for each in results["errors"]] == [
        (0, "handler_failed"), (2, "handler_failed"),
    ]  # fmt: skip
    assert stored(world, form_fill) == {"a": 1, "b": 0}


def test_a_user_deactivated_meanwhile_changes_nothing(
    app: Flask, world: World, sign_in: SignIn, tech: User, form_fill: FormFill
) -> None:
    client = sign_in(tech)
    with app.app_context():
        statement = text("UPDATE users SET active = false WHERE id = :id")
        unit_of_work(lambda _: db.session.execute(statement, {"id": tech.id}))
    answer = client.post("/api/v1/sync", json={"sync_items": [item(form_fill, "x")]})
    assert answer.status_code == 401
    assert stored(world, form_fill) == {"a": 0, "b": 0}
