"""`fieldpost privacy`: a person's data told and removed, and values of a row forgotten while retries hold."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import String, Table, cast, insert, select, update

from app.clock import to_wire
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.core.host.registry import Installed, core_tables
from app.models import Attachment, FormFill, Inspection, LedgerOperation, Notice, SetAside, SignIn, User, UserSync
from app.models.devices import Device
from app.plugin_api import Plugin
from app.testing import push
from app.testing import sign_in as signed_in_device
from tests.conftest import SignIn as SignInPerson
from tests.conftest import World
from tests.core.sync.conftest import edit
from tests.support.answers import json_of

EMAIL, NAME = "theo@example.com", "Theo Technician"


def done(app: Flask, *arguments: str) -> str:
    result = app.test_cli_runner().invoke(args=["privacy", *arguments])
    assert result.exit_code == 0, result.output
    return str(result.output)


@pytest.fixture
def theo(app: Flask, world: World) -> User:
    """Somebody whose name is in the ledger."""
    user = world.user(EMAIL, "technician")
    assert app.test_cli_runner().invoke(args=["users", "rename", EMAIL, NAME]).exit_code == 0
    return user


@pytest.fixture
def form_fill(world: World, theo: User) -> FormFill:
    return world.form_fill(world.inspection(theo), data={"a": 0})


def tables_of_core() -> list[Table]:
    core = core_tables()
    return [table for table in db.metadata.sorted_tables if table.name in core]


def everything(app: Flask) -> str:
    """All texts of all tables, without passwords."""
    with app.app_context():
        texts = []
        for table in tables_of_core():
            columns = [cast(column, String) for column in table.c if column.name != "password_hash"]
            texts += [str(tuple(row)) for row in db.session.execute(select(*columns))]
        return "\n".join(texts)


#: The names of columns that say who somebody is, or on which device or from where something was done.
PERSONAL = re.compile(r".*(user_id|_by_id|owner_id|assignee_id|actor_id|viewer_id|sign_in_id|email|device_id|address)")

#: The columns with such names -> the kind of lines in which `export` tells of them.
KINDS = {
    "users.email": "user",
    "sign_ins.user_id": "sign_in",
    "sign_ins.device_id": "sign_in",
    "refresh_tokens.sign_in_id": "refresh_token",
    "user_syncs.user_id": "last_sync",
    "devices.user_id": "device",
    "devices.device_id": "device",
    "notices.user_id": "notice",
    "inspections.owner_id": "inspection",
    "inspections.assignee_id": "inspection",
    "attachments.uploaded_by_id": "attachment",
    "set_aside.user_id": "set_aside",
    "set_aside.device_id": "set_aside",
    "set_aside.decided_by_id": "decision",
    "ledger_operations.user_id": "operation",
    "ledger_operations.device_id": "operation",
    "ledger_operations.decided_by_id": "operation_for_others",
    "ledger_operations.read_in_by_id": "operation_for_others",
    "ledger_entries.viewer_id": "sight",
    "audit_entries.actor_id": "audit_entry",
    "audit_entries.actor_email": "audit_entry",
    "audit_entries.device_id": "audit_entry",
    "audit_entries.address": "audit_entry",
}


def test_each_column_that_names_somebody_is_told_of() -> None:
    there = {f"{table.name}.{column.name}" for table in tables_of_core() for column in table.c}
    assert {name for name in there if PERSONAL.fullmatch(name)} == set(KINDS), "`export_person` and `erase_person`?"


def test_everything_about_a_person_is_told_without_the_password(
    app: Flask, world: World, theo: User, form_fill: FormFill
) -> None:
    missed = {"type": "unheard_of", "local_id": "1", "data": {"x": 1}}
    push(signed_in_device(app, theo, str(uuid4())), edit(form_fill, a=1), missed, {**missed, "local_id": "2"})
    world.attachment(form_fill)
    own = {"decided_by_id": theo.id}
    with app.app_context(), writing(db.engine) as connection:
        for statement in (
            insert(Notice).values(user_id=theo.id, subject="late", key="1", told_at=theo.created_at),
            update(Attachment).values(uploaded_by_id=theo.id),
            update(SetAside).where(SetAside.local_id == "2").values(user_id=0, **own),
            update(LedgerOperation).where(LedgerOperation.type == "test.make").values(**own),
        ):
            connection.execute(statement)
    rows = [json.loads(line) for line in done(app, "export", EMAIL).splitlines()]
    kinds = [row["kind"] for row in rows]
    assert set(kinds) == {*KINDS.values(), "change", "change_of_user", "audit_entry_of_user"}
    assert [row["item"] for row in rows if row["kind"] == "set_aside"] == [missed]
    (*_, change) = [row for row in rows if row["kind"] == "change"]
    assert change["changes"] == {"a": {"old": 0, "new": 1}}
    assert not any("password_hash" in row for row in rows)


def test_an_erased_person_is_nowhere_any_more_and_the_work_stays(
    app: Flask, world: World, theo: User, form_fill: FormFill
) -> None:
    device_id = str(uuid4())
    device = signed_in_device(app, theo, device_id)
    missed = {"type": "unheard_of", "local_id": "1", "data": {"x": 1}}
    push(device, *({**item, "meta": {"phone": NAME}} for item in (edit(form_fill, a=1), missed)))
    device.post("/api/v1/sync", json={"sync_items": [], "device": {"name": "Phone of Theo"}})
    assert len(world.all(Device)) == 1
    operations = len(world.all(LedgerOperation))
    assert NAME in everything(app)
    assert f"The user with id {theo.id} is erased-{theo.id}@invalid now." in done(app, "erase", EMAIL, "--yes")
    left = everything(app)
    assert NAME not in left
    assert EMAIL not in left
    assert device.get("/api/v1/auth/me").status_code == 401
    assert [world.all(model) for model in (SignIn, Device, UserSync)] == [[], [], []]
    assert world.get(FormFill, form_fill.id).data == {"a": 1}
    assert len(world.all(LedgerOperation)) >= operations
    (waiting,) = world.all(SetAside)
    assert (waiting.item, waiting.decision) == (missed, None)
    assert waiting.device_id in {row.device_id for row in world.all(LedgerOperation)} - {device_id}
    user = world.get(User, theo.id)
    assert (user.active, user.name) == (False, f"Erased user {theo.id}")
    done(app, "erase", user.email, "--yes")


def test_an_erased_person_stays_so_by_every_door(app: Flask, world: World, theo: User, sign_in: SignInPerson) -> None:
    admin = world.user("ada@example.com", "admin")
    done(app, "erase", EMAIL, "--yes")
    user = world.get(User, theo.id)
    for arguments in (["reactivate", user.email], ["rename", user.email, NAME], ["set-role", user.email, "admin"]):
        result = app.test_cli_runner().invoke(args=["users", *arguments])
        assert (result.exit_code, result.output) == (1, "Error: This person was erased. Add a new user instead.\n")
    for values, key in (({"active": True}, "active"), ({"password": "correct horse battery"}, "password")):
        answer = sign_in(admin).patch(f"/api/v1/users/{theo.id}", json=values)
        assert answer.status_code == 400
        assert json_of(answer)["details"] == {key: ["This person was erased. Add a new user instead."]}
    assert world.get(User, theo.id).updated_at == user.updated_at


def test_plugins_remove_what_they_keep_and_one_that_fails_is_named(
    app: Flask, theo: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def erase(user_id: int) -> int:
        asked.append(user_id)
        if len(asked) == 1:
            raise RuntimeError("away")
        return 2

    registry = app.extensions["fieldpost.registry"]
    plugin = Plugin(name="phones", api_version=1, erase=erase)
    installed = Installed(plugin=plugin, entry_point="phones:plugin", distribution="phones", version="1")
    monkeypatch.setitem(registry.installed, "phones", installed)
    result = app.test_cli_runner().invoke(args=["privacy", "erase", EMAIL, "--yes"])
    assert result.exit_code == 1
    assert "(phones: RuntimeError: away). Everything else is done." in result.output
    assert EMAIL not in everything(app)
    again = f"erased-{theo.id}@invalid"
    assert f"run `fieldpost privacy erase {again}` again" in result.output
    assert "plugin phones: removed 2\n" in done(app, "erase", again, "--yes")
    assert asked == [theo.id, theo.id]


def test_personal_fields_are_emptied_and_forgotten_also_where_another_person_is_named_now(
    app: Flask, world: World, theo: User, sign_in: SignInPerson, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a plugin would state them; here of the core's inspections, which have two columns that name users."""
    entity = replace(Inspection.__entity__, personal={"assignee_id": {"notes": "-"}})
    monkeypatch.setattr(Inspection, "__entity__", entity)
    office, other = sign_in(world.user("ada@example.com", "admin")), world.user("tina@example.com")
    here, former = (world.inspection(theo, theo, notes="Theo has the key") for _ in range(2))
    answer = office.patch(f"/api/v1/inspections/{former.id}", json={"assignee_id": other.id, "notes": "Tina has it"})
    assert answer.status_code == 200
    assert "inspection: emptied the personal fields of 2 rows\n" in done(app, "erase", EMAIL, "--yes")
    assert [world.get(Inspection, row.id).notes for row in (here, former)] == ["-", "Tina has it"]
    assert "the key" not in everything(app)
    assert "inspection: emptied the personal fields of 2 rows\n" in done(
        app, "erase", f"erased-{theo.id}@invalid", "--yes"
    )
    assert world.get(Inspection, here.id).notes == "-"


def test_the_last_administrator_is_not_erased(app: Flask, world: World) -> None:
    world.user("ada@example.com", "admin")
    result = app.test_cli_runner().invoke(args=["privacy", "erase", "ada@example.com", "--yes"])
    assert result.exit_code == 1
    assert "This is the last active administrator" in result.output
    assert app.test_cli_runner().invoke(args=["privacy", "erase", "ada@example.com"], input="n\n").exit_code == 1
    assert app.test_cli_runner().invoke(args=["privacy", "export", "nobody@example.com"]).exit_code == 1


def test_earlier_values_are_forgotten_and_retries_and_the_feed_hold(
    app: Flask, world: World, theo: User, form_fill: FormFill, sign_in: SignInPerson
) -> None:
    device = sign_in(theo)
    cursor = json_of(device.get("/api/v1/sync/changes"))["data"]["cursor"]
    first, second = edit(form_fill, a="a secret"), edit(form_fill, a="harmless")
    for item in (first, second):
        push(device, item)
    assert "a secret" in everything(app)
    assert done(app, "forget", "form-fill", str(form_fill.id)) == f"Forgot 3 changes of form-fill {form_fill.id}.\n"
    assert "a secret" not in everything(app)
    assert push(device, first)["success"][0]["replayed"] is True
    assert world.get(FormFill, form_fill.id).data == {"a": "harmless"}
    assert names_of_changes(device, cursor) == [str(form_fill.id)]
    assert "no earlier values of form-fill 4711. Name a row by its id" in done(app, "forget", "form-fill", "4711")
    strange = app.test_cli_runner().invoke(args=["privacy", "forget", "formfill", str(form_fill.id)])
    assert strange.exit_code == 1
    assert "No rows are called 'formfill'. There are: attachment, form-fill, form-template" in strange.output


def test_values_of_items_that_were_not_applied_are_forgotten_unless_they_wait(
    app: Flask, world: World, theo: User, form_fill: FormFill, sign_in: SignInPerson
) -> None:
    office, device = sign_in(world.user("admin@example.com", "admin")), sign_in(theo)
    held = to_wire(form_fill.updated_at)
    push(office, edit(form_fill, a="a secret"))
    decided, waiting = edit(form_fill, held, a="decided secret"), edit(form_fill, held, a="waiting")
    push(device, decided, waiting)
    rows = {row.local_id: row.id for row in world.all(SetAside)}
    decision = {"decision": "discard", "reason": "twice"}
    address = f"/api/v1/set_aside/{rows[decided['local_id']]}/decision"
    assert office.post(address, json=decision).status_code == 200
    push(office, edit(form_fill, a="harmless"))
    assert everything(app).count("secret") > 2
    done(app, "forget", "form-fill", str(form_fill.id))
    assert "secret" not in everything(app)
    assert world.get(SetAside, rows[waiting["local_id"]]).item == waiting


def names_of_changes(device: FlaskClient, cursor: str) -> list[Any]:
    """The ids of the form fills that a device with this cursor is told of."""
    changes = json_of(device.get(f"/api/v1/sync/changes?cursor={cursor}"))["data"]["changes"]
    return [str(change["id"]) for change in changes if change["entity"] == "form_fill"]


def test_results_of_plugins_are_forgotten_and_their_retries_hold(
    app: Flask, world: World, theo: User, form_fill: FormFill, sign_in: SignInPerson
) -> None:
    """Results may hold values of a row; the types that ship have none, so this one is put there."""
    device, item, further = sign_in(theo), edit(form_fill, a=1), ["form_fill", str(form_fill.id)]
    push(device, item)
    with app.app_context(), writing(db.engine) as connection:
        result = {"result": {"was": "a secret"}, "also": [further]}
        connection.execute(update(LedgerOperation).where(LedgerOperation.local_id.is_not(None)).values(result=result))
    (before,) = push(device, item)["success"]
    assert before["result"] == {"was": "a secret"}
    done(app, "forget", "form-fill", str(form_fill.id))
    assert "a secret" not in everything(app)
    (after,) = push(device, item)["success"]
    assert {**after, "result": before["result"]} == before, "replayed, with the other rows"


def test_a_change_on_a_forgotten_version_is_a_conflict(
    app: Flask, world: World, theo: User, form_fill: FormFill, sign_in: SignInPerson
) -> None:
    device = sign_in(theo)
    earlier = world.get(FormFill, form_fill.id).updated_at
    colleague = sign_in(world.user("admin@example.com", "admin"))
    for value in (1, 2):
        push(colleague, edit(form_fill, a=value))
    done(app, "forget", "form-fill", str(form_fill.id))
    # Another field, so that a merge would succeed if the base were known.
    item = edit(form_fill, b=3)
    item["data"] |= {"updated_at": earlier.isoformat().replace("+00:00", "Z"), "resolve_strategy": "merge"}
    assert len(push(device, item)["conflicts"]) == 1
    assert world.get(FormFill, form_fill.id).data == {"a": 2}
