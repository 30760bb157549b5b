"""New inspections from devices: the first create without a parent (contract, section 3.3)."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from marshmallow import Schema, fields

from app import policies
from app.clock import to_wire
from app.core.host.checks.handlers import handler_findings
from app.core.host.registry import Registered
from app.models import FormFill, FormTemplate, Inspection, User
from app.plugin_api import Context, Operation, Outcome, SyncHandler, by_id, edit
from app.testing import push
from app.testing.scene import statements_of
from tests.conftest import SettableClock, SignIn, World
from tests.support.cases import cases

CLIENT_ID = "7c2e4d1f-3d0c-4c52-8a52-0d5f4e1f0004"
FORMS = ["7c2e4d1f-3d0c-4c52-8a52-0d5f4e1f0005", "7c2e4d1f-3d0c-4c52-8a52-0d5f4e1f0006"]


def item(data: dict[str, Any], kind: str = "inspection") -> dict[str, Any]:
    return {"type": kind, "local_id": str(uuid4()), "data": data}


@pytest.fixture
def templates(world: World) -> list[FormTemplate]:
    return [world.template(), world.template()]


@pytest.fixture
def new(templates: list[FormTemplate]) -> dict[str, Any]:
    """A payload that makes an inspection."""
    ids = [template.id for template in templates]
    return {"client_id": CLIENT_ID, "date": "2024-03-15", "form_template_ids": ids, "form_fill_client_ids": FORMS}


def test_a_technician_makes_an_inspection_of_their_own(
    world: World, device: FlaskClient, tech: User, new: dict[str, Any], clock: SettableClock
) -> None:
    sent = {**new, "notes": "Called in", "status": "in_progress", "job": "J-1", "property": {"city": "Ulm"}}
    (entry,) = push(device, item(sent))["success"]
    row, forms = world.get(Inspection, entry["server_id"]), world.all(FormFill)
    assert (row.owner_id, row.assignee_id, row.client_id) == (tech.id, tech.id, CLIENT_ID)
    assert (row.date.isoformat(), row.notes, row.status, row.job) == ("2024-03-15", "Called in", "in_progress", "J-1")
    assert row.property == {"property_name": None, "address": None, "city": "Ulm", "zip_code": None}
    assert [(form.inspection_id, form.client_id, form.form_template_id, form.data) for form in forms] == [
        (row.id, client_id, template_id, {})
        for client_id, template_id in zip(FORMS, new["form_template_ids"], strict=True)
    ]
    assert entry["message"] == "Inspection created successfully"
    assert entry["updated_at"] == to_wire(clock.time)
    assert (entry["data"]["date"], entry["data"]["job"]) == ("2024-03-15", "J-1")
    assert entry["also"] == [
        {"entity": "form_fill", "id": form.id, "updated_at": to_wire(clock.time)} for form in forms
    ]


@pytest.mark.parametrize(("role", "is_assigned"), [("technician", True), ("user", False), ("admin", False)])
def test_everybody_signed_in_may_make_one_and_owns_it(
    world: World, sign_in: SignIn, new: dict[str, Any], role: str, is_assigned: bool
) -> None:
    user = world.user(f"{role}-2@example.com", role)
    (entry,) = push(sign_in(user), item(new))["success"]
    row = world.get(Inspection, entry["server_id"])
    assert (row.owner_id, row.assignee_id) == (user.id, user.id if is_assigned else None)


def test_a_retry_is_answered_again_with_its_form_fills(world: World, device: FlaskClient, new: dict[str, Any]) -> None:
    sent = item(new)
    (first,) = push(device, sent)["success"]
    again, third = push(device, sent, sent)["success"]
    for entry in (again, third):
        assert entry["replayed"] is True
        assert (entry["server_id"], entry["also"]) == (first["server_id"], first["also"])
    assert (len(world.all(Inspection)), len(world.all(FormFill))) == (1, 2)


def test_its_client_id_is_accepted_wherever_an_id_is(world: World, device: FlaskClient, new: dict[str, Any]) -> None:
    name = CLIENT_ID.upper()
    form = {"inspection_id": name, "form_template_id": new["form_template_ids"][0], "data": {"a": 1}}
    results = push(
        device,
        item(new),
        item({"id": name, "status": "in_progress"}),
        item(form, "form_fill"),
        item({"id": FORMS[0].upper(), "changes": {"a": 2}}, "form_fill"),
    )
    assert (results["errors"], results["conflicts"]) == ([], [])
    (row,) = world.all(Inspection)
    assert row.status == "in_progress"
    assert [form.data for form in world.all(FormFill)] == [{"a": 2}, {}, {"a": 1}]
    assert push(device, item({"id": name, "notes": "Later"}), item({**form, "data": {}}, "form_fill"))["errors"] == []
    for path in ("", "/offline_data", "/history"):
        answer = device.get(f"/api/v1/inspections/{name}{path}")
        assert answer.status_code == 200, answer.text
    package = device.get(f"/api/v1/inspections/{name}/offline_data").json["data"]  # type: ignore[index]
    assert package["inspection"]["client_id"] == CLIENT_ID
    assert len(package["form_fills"]) == 4
    history = device.get(f"/api/v1/entities/inspection/{name}/history")
    assert history.status_code == 200, history.text


def test_administrators_change_and_delete_it_by_its_client_id(
    world: World, device: FlaskClient, office: FlaskClient, new: dict[str, Any]
) -> None:
    (entry,) = push(device, item(new))["success"]
    cursor = device.get("/api/v1/sync/changes").json["data"]["cursor"]  # type: ignore[index]
    changed = office.patch(f"/api/v1/inspections/{CLIENT_ID.upper()}", json={"job": "J-2"})
    assert changed.json["data"]["inspection"]["job"] == "J-2"  # type: ignore[index]
    deleted = office.delete(f"/api/v1/inspections/{CLIENT_ID.upper()}")
    assert deleted.json["data"] == {"id": entry["server_id"]}  # type: ignore[index]
    changes = device.get(f"/api/v1/sync/changes?cursor={cursor}").json["data"]["changes"]  # type: ignore[index]
    removed = {(change["entity"], change["client_id"]) for change in changes if change["op"] == "remove"}
    assert removed == {("inspection", CLIENT_ID), *(("form_fill", name) for name in FORMS)}


def test_the_feed_shows_it_to_its_owner_and_to_nobody_else(
    device: FlaskClient, other: FlaskClient, sign_in: SignIn, stranger: User, new: dict[str, Any]
) -> None:
    clients = [device, sign_in(stranger)]
    cursors = [client.get("/api/v1/sync/changes").json["data"]["cursor"] for client in clients]  # type: ignore[index]
    (entry,) = push(device, item(new))["success"]
    pages = [
        client.get(f"/api/v1/sync/changes?cursor={cursor}").json["data"]["changes"]  # type: ignore[index]
        for client, cursor in zip(clients, cursors, strict=True)
    ]
    shown = [(change["entity"], change["record"].get("client_id")) for change in pages[0]]
    assert ("inspection", CLIENT_ID) in shown
    assert [name for entity, name in shown if entity == "form_fill"] == FORMS
    assert pages[1] == []
    assert push(other, item({"id": entry["server_id"], "notes": "Mine?"}))["errors"][0]["code"] == "forbidden"


def test_a_second_create_with_its_client_id_is_an_update_on_the_first_version(
    world: World, device: FlaskClient, office: FlaskClient, new: dict[str, Any], clock: SettableClock
) -> None:
    (first,) = push(device, item(new))["success"]
    clock.forward(seconds=1)
    (again,) = push(device, item({**new, "date": "2024-03-16", "notes": "Second"}))["success"]
    assert again["server_id"] == first["server_id"]
    row = world.get(Inspection, first["server_id"])
    assert (row.date.isoformat(), row.notes) == ("2024-03-16", "Second")
    assert len(world.all(FormFill)) == 2
    clock.forward(seconds=1)
    assert office.patch(f"/api/v1/inspections/{row.id}", json={"job": "J-9", "notes": "Office"}).status_code == 200
    (conflict,) = push(device, item({**new, "date": "2024-03-16", "job": "J-1"}))["conflicts"]
    assert conflict["conflict_data"]["conflicting_fields"] == ["job"]
    assert conflict["conflict_data"]["server_data"]["job"] == "J-9"
    assert world.get(Inspection, row.id).job == "J-9"


def test_a_client_id_of_somebody_elses_inspection_is_taken(
    world: World, device: FlaskClient, sign_in: SignIn, stranger: User, new: dict[str, Any]
) -> None:
    push(device, item(new))
    own = {**new, "client_id": CLIENT_ID.upper(), "form_fill_client_ids": None}
    (entry,) = push(sign_in(stranger), item({**own, "resolve_strategy": "use_local"}))["errors"]
    assert (entry["code"], entry["error"], entry["retryable"]) == ("invalid", "client_id is taken", False)
    assert len(world.all(Inspection)) == 1


def test_a_client_id_of_another_form_fill_is_taken_and_nothing_is_half_made(
    world: World, device: FlaskClient, new: dict[str, Any], inspection: Inspection
) -> None:
    form = {"inspection_id": inspection.id, "form_template_id": new["form_template_ids"][0], "client_id": FORMS[1]}
    push(device, item(form, "form_fill"))
    others = [item({**new, "client_id": str(uuid4()), "form_fill_client_ids": None}) for _ in range(2)]
    results = push(device, others[0], item(new), others[1])
    assert [entry["error"] for entry in results["errors"]] == ["client_id is taken"]
    assert [entry["index"] for entry in results["success"]] == [0, 2]
    names = {row.client_id for row in world.all(Inspection)} - {None}
    assert names == {other["data"]["client_id"] for other in others}


def test_in_one_batch_a_form_fills_client_id_is_given_once(
    world: World, device: FlaskClient, new: dict[str, Any]
) -> None:
    second = {**new, "client_id": str(uuid4())}
    results = push(device, item(new), item(second), item({"id": FORMS[0], "changes": {"a": 1}}, "form_fill"))
    assert [entry["error"] for entry in results["errors"]] == ["client_id is taken"]
    assert [entry["index"] for entry in results["success"]] == [0, 2]


@cases(
    ("name", "value"),
    [
        ("date", "15.03.2024"), ("date", "1999-12-31"), ("date", "2024-02-30"), ("date", None), ("client_id", "x"),
        ("form_template_ids", []), ("form_template_ids", None), ("form_template_ids", "1"),
        ("form_template_ids", [1, 1]), ("form_template_ids", [True]), ("form_template_ids", list(range(1, 102))),
        ("form_fill_client_ids", FORMS[:1]), ("form_fill_client_ids", [FORMS[0], FORMS[0].upper()]),
        ("form_fill_client_ids", ["x", FORMS[1]]), ("property", {"street": "x"}), ("job", "x" * 256),
        ("owner_id", 1), ("assignee_id", 1), ("status", "done"),
    ],
)  # fmt: skip
def test_what_a_new_inspection_cannot_have_is_invalid_and_named(
    world: World, device: FlaskClient, new: dict[str, Any], name: str, value: Any
) -> None:
    (entry,) = push(device, item({**new, name: value}))["errors"]
    assert (entry["code"], [*entry["details"]]) == ("invalid", [name])
    assert world.all(Inspection) == world.all(FormFill) == []


def test_without_a_client_id_nothing_is_made(world: World, device: FlaskClient, new: dict[str, Any]) -> None:
    del new["client_id"]
    (entry,) = push(device, item(new))["errors"]
    assert entry["details"] == {"id": ["Send this to change a row, or client_id to create one."]}
    assert world.all(Inspection) == []


def test_a_form_template_that_is_not_there_is_not_found(world: World, device: FlaskClient, new: dict[str, Any]) -> None:
    (entry,) = push(device, item({**new, "form_template_ids": [new["form_template_ids"][0], 4711]}))["errors"]
    assert (entry["code"], entry["error"]) == ("not_found", "FormTemplate not found")
    assert world.all(Inspection) == []


def test_a_change_names_no_form_templates(device: FlaskClient, inspection: Inspection, new: dict[str, Any]) -> None:
    sent = {"id": inspection.id, "notes": "x", "form_template_ids": new["form_template_ids"]}
    (entry,) = push(device, item(sent))["errors"]
    assert (entry["code"], [*entry["details"]]) == ("invalid", ["form_template_ids"])


def test_items_below_a_refused_create_do_not_wait_for_it(device: FlaskClient, new: dict[str, Any]) -> None:
    form = {"inspection_id": CLIENT_ID, "form_template_id": new["form_template_ids"][0]}
    waiting = push(device, item(form, "form_fill"))["errors"]
    results = push(device, item({**new, "date": "never"}), item(form, "form_fill"))
    assert [(entry["code"], entry["retryable"]) for entry in (*waiting, *results["errors"])] == [
        ("not_found", True),
        ("invalid", False),
        ("not_found", False),
    ]


@pytest.mark.parametrize(
    "fault",
    [{"date": "never"}, {"client_id": "x"}, {"form_template_ids": [999]}, {"form_fill_client_ids": [FORMS[1].upper()]}],
    ids=["refused by the schema", "no client_id", "no form template", "refused by the handler"],
)
def test_nor_do_items_that_name_one_of_its_form_fills(
    device: FlaskClient, new: dict[str, Any], fault: dict[str, Any]
) -> None:
    results = push(device, item({**new, **fault}), item({"id": FORMS[1], "changes": {"a": 1}}, "form_fill"))
    assert [(entry["code"], entry["retryable"]) for entry in results["errors"][1:]] == [("not_found", False)]


@pytest.mark.parametrize("fault", [{"meta": "Berlin"}, {"local_id": ""}], ids=["meta", "local_id"])
def test_nor_where_it_was_refused_at_the_first_look(
    device: FlaskClient, new: dict[str, Any], fault: dict[str, Any]
) -> None:
    edit_of_a_form = item({"id": FORMS[0], "changes": {"a": 1}}, "form_fill")
    results = push(device, {**item(new), **fault}, edit_of_a_form)
    assert [(entry["code"], entry["retryable"]) for entry in results["errors"][1:]] == [("not_found", False)]


def test_the_form_fill_of_a_later_create_counts_although_an_earlier_one_was_refused(
    device: FlaskClient, new: dict[str, Any]
) -> None:
    edit_of_a_form = item({"id": FORMS[0], "changes": {"a": 1}}, "form_fill")
    results = push(device, item({**new, "date": "never"}), item(new), edit_of_a_form)
    assert [entry["index"] for entry in results["success"]] == [1, 2]


def test_the_number_of_statements_does_not_depend_on_the_number_of_inspections(
    world: World, device: FlaskClient, new: dict[str, Any]
) -> None:
    items = [item({**new, "client_id": str(uuid4()), "form_fill_client_ids": None}) for _ in range(21)]
    counts = []
    for batch in (items[:1], items[1:], items[:1], items[1:]):
        with statements_of(world.app) as statements:
            push(device, *batch)
        counts.append(len(statements))
    assert counts[0] == counts[1]
    assert counts[2] == counts[3]


class TestTurnedOff:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return environment | {"FIELDPOST_FIELD_INSPECTIONS": "0"}

    def test_nobody_makes_one_and_changes_still_apply(
        self, world: World, device: FlaskClient, inspection: Inspection, new: dict[str, Any]
    ) -> None:
        results = push(device, item(new), item({"id": inspection.id, "notes": "Still mine"}))
        (entry,) = results["errors"]
        assert (entry["code"], entry["retryable"]) == ("forbidden", False)
        assert entry["error"] == "New inspections come from the office"
        assert len(results["success"]) == len(world.all(Inspection)) == 1
        abilities = device.get("/api/v1/").json["abilities"]  # type: ignore[index]
        assert abilities["field_inspections"] is False


# Types of plugins


class VisitSchema(Schema):
    date = fields.Date(required=True)
    notes = fields.String()


def install(app: Flask, **parts: Any) -> None:
    """Let this application know the type `visit`, which makes inspections without forms."""
    given = {"target": by_id(Inspection, "visit_id", is_new_root=True), "policy": policies.change, "apply": edit}
    handler = SyncHandler(type="visit", schema=VisitSchema, **{**given, **parts})
    registry = app.extensions["fieldpost.registry"]
    registry.handlers["visit"] = Registered(handler=handler, entry_point="visit:handler", distribution="x", version="1")
    registry.routes["visit"] = handler


@pytest.fixture
def visit() -> dict[str, Any]:
    return {"client_id": CLIENT_ID, "date": "2024-03-15", "notes": "Drove past"}


def test_a_plugins_type_makes_an_inspection_and_changes_it(
    app: Flask, world: World, device: FlaskClient, tech: User, visit: dict[str, Any]
) -> None:
    install(app)
    results = push(device, item(visit, "visit"), item({"visit_id": CLIENT_ID, "notes": "Came back"}, "visit"))
    assert (results["errors"], results["conflicts"]) == ([], [])
    (row,) = world.all(Inspection)
    assert (row.owner_id, row.assignee_id, row.notes) == (tech.id, tech.id, "Came back")
    types = device.get("/api/v1/sync/types").json["data"]["types"]  # type: ignore[index]
    change, new = next(kind["schema"]["oneOf"] for kind in types if kind["type"] == "visit")
    assert "client_id" not in change["required"]
    assert {"client_id", "date"} == {*new["required"]}


def test_its_policy_is_asked_about_the_new_inspection(
    app: Flask, world: World, device: FlaskClient, visit: dict[str, Any]
) -> None:
    install(app, policy=lambda user, row: row.notes != "Drove past")
    (entry,) = push(device, item(visit, "visit"))["errors"]
    assert (entry["code"], entry["error"]) == ("forbidden", "Not authorized to update this inspection")
    assert world.all(Inspection) == []
    assert len(push(device, item({**visit, "notes": "Came in"}, "visit"))["success"]) == 1


def test_apply_gives_nobody_an_inspection_that_the_sender_may_not_change(
    app: Flask, world: World, device: FlaskClient, owner: User, visit: dict[str, Any]
) -> None:
    def give_away(operation: Operation, context: Context) -> Outcome:
        values = {**operation.changes, "owner_id": owner.id, "assignee_id": None}
        return Outcome(row=context.create(Inspection, None, values))

    install(app, apply=give_away)
    (entry,) = push(device, item(visit, "visit"))["errors"]
    assert entry["code"] == "forbidden"
    assert world.all(Inspection) == []


@pytest.mark.parametrize("model", [FormFill, Inspection])
def test_nothing_else_is_made_without_a_parent(
    app: Flask, world: World, device: FlaskClient, inspection: Inspection, model: type, visit: dict[str, Any]
) -> None:
    """Another model has no root, and only an item that makes an inspection has locked its sender."""

    def make(_operation: Operation, context: Context) -> Outcome:
        return Outcome(row=context.create(model, None, {"date": inspection.date}))

    install(app, apply=make)
    sent = {"visit_id": inspection.id, "notes": "x"} if model is Inspection else visit
    (entry,) = push(device, item(sent, "visit"))["errors"]
    assert entry["code"] == "handler_failed"
    assert [row.id for row in world.all(Inspection)] == [inspection.id]


@pytest.mark.parametrize(
    "target",
    [
        by_id(FormFill, is_new_root=True),
        by_id(Inspection, parent=by_id(Inspection, "other_id"), is_new_root=True),
    ],
)
def test_only_an_inspection_stands_below_nothing(target: Any) -> None:
    handler = SyncHandler(type="visit", schema=VisitSchema, target=target, policy=policies.change, apply=edit)
    findings = [str(finding) for finding in handler_findings("x", handler, "visit")]
    assert any("below nothing" in finding for finding in findings)
