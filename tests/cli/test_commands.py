"""The command line: users, settings, plugins, demo data (contract, section 9)."""

from __future__ import annotations

import re
import stat
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.core.host.registry import Installed
from app.core.host.settings import SETTINGS
from app.models import Attachment, FormFill, FormTemplate, Inspection, LedgerOperation, User
from app.plugin_api import API_VERSION, Plugin
from tests.conftest import PASSWORD, SignIn, World
from tests.support.answers import json_of

NEW = "a new password for all"


def run(app: Flask, *arguments: str, stdin: str = "") -> Any:
    """Run `fieldpost …`; a refusal is a sentence and an exit code, never a traceback."""
    result = app.test_cli_runner().invoke(args=list(arguments), input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert "Traceback" not in result.output
    return result


def login(app: Flask, email: str, password: str) -> int:
    return app.test_client().post("/api/v1/auth/login", json={"email": email, "password": password}).status_code


def create(
    app: Flask, email: str = "ada@example.com", role: str = "admin", password: str = NEW, name: str = "Ada"
) -> Any:
    return run(app, "users", "create", email, "--role", role, "--name", name, "--password-stdin", stdin=password)


def test_a_created_user_can_sign_in(app: Flask, world: World) -> None:
    result = create(app, "Ada@Example.com", password=f"{NEW}\n")
    assert result.exit_code == 0, result.output
    (user,) = world.all(User)
    assert result.output == f"Created admin ada@example.com with id {user.id}.\n"
    assert login(app, "ada@example.com", NEW) == 200


def test_what_the_command_line_does_is_in_the_ledger(app: Flask, world: World) -> None:
    create(app)
    (operation,) = world.all(LedgerOperation)
    assert (operation.door, operation.user_id, operation.entity) == ("cli", None, "user")


def test_a_password_is_never_shown(app: Flask) -> None:
    assert NEW not in create(app).output
    assert NEW not in run(app, "users", "list").output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"password": "short"}, "A password has 8 to 128 characters"),
        ({"password": "Password1!"}, "This password is easy to guess"),
        ({"password": "ada@example.com"}, "This password is easy to guess"),
        ({"password": ""}, "A password has 8 to 128 characters"),
        ({"role": "boss"}, "'boss' is not one of 'admin', 'technician', 'user'"),
        ({"email": "ada"}, "'ada' is no e-mail address"),
        ({"name": " \u200b"}, "Nothing of it can be seen."),
        ({"name": ""}, "Length must be between 1 and 255."),
    ],
)
def test_a_user_that_cannot_be_is_refused(app: Flask, world: World, arguments: dict[str, str], sentence: str) -> None:
    result = create(app, **arguments)
    assert result.exit_code != 0
    assert sentence in result.output
    assert world.all(User) == []


def test_an_address_is_given_once(app: Flask, world: World) -> None:
    create(app)
    result = create(app, "ADA@example.com")
    assert result.exit_code == 1
    assert "This e-mail address is taken" in result.output
    assert len(world.all(User)) == 1


def test_the_list_shows_everybody(app: Flask, world: World) -> None:
    world.user("ada@example.com", "admin")
    world.user("theo@example.com", "technician", active=False)
    lines = [line.split("\t")[1:4] for line in run(app, "users", "list").output.splitlines()]
    assert lines == [["ada@example.com", "admin", "active"], ["theo@example.com", "technician", "deactivated"]]


def test_a_new_password_ends_all_sign_ins(app: Flask, world: World, sign_in: SignIn) -> None:
    client = sign_in(world.user("theo@example.com"))
    assert client.get("/api/v1/auth/me").status_code == 200
    result = run(app, "users", "set-password", "Theo@example.com", "--password-stdin", stdin=f"{NEW}\n")
    assert result.exit_code == 0, result.output
    assert json_of(client.get("/api/v1/auth/me"))["code"] == "token_revoked"
    assert login(app, "theo@example.com", PASSWORD) == 401
    assert login(app, "theo@example.com", NEW) == 200


def test_somebody_who_left_is_signed_out_and_stays_out(app: Flask, world: World, sign_in: SignIn) -> None:
    client = sign_in(world.user("theo@example.com"))
    result = run(app, "users", "deactivate", "theo@example.com")
    assert (result.exit_code, result.output) == (0, "Deactivated theo@example.com; its sign-ins have ended.\n")
    assert client.get("/api/v1/auth/me").status_code == 401
    assert login(app, "theo@example.com", PASSWORD) == 401


def test_the_last_active_administrator_cannot_be_deactivated(app: Flask, world: World) -> None:
    admin = world.user("ada@example.com", "admin")
    world.user("former@example.com", "admin", active=False)
    result = run(app, "users", "deactivate", "ada@example.com")
    assert result.exit_code == 1
    assert result.output == "Error: This is the last active administrator.\n"
    assert world.get(User, admin.id).active
    world.user("second@example.com", "admin")
    assert run(app, "users", "deactivate", "ada@example.com").exit_code == 0


def done(app: Flask, *arguments: str) -> str:
    """The output of a command that must succeed."""
    result = run(app, *arguments)
    assert result.exit_code == 0, result.output
    return str(result.output)


def test_role_and_name_and_return_of_a_user_are_set(app: Flask, world: World) -> None:
    user = world.user("theo@example.com", "technician", active=False)
    done(app, "users", "set-role", "Theo@example.com", "admin")
    done(app, "users", "rename", "theo@example.com", "Theodora")
    assert login(app, "theo@example.com", PASSWORD) == 401
    done(app, "users", "reactivate", "theo@example.com")
    assert login(app, "theo@example.com", PASSWORD) == 200
    present = world.get(User, user.id)
    assert (present.role, present.name, present.active) == ("admin", "Theodora", True)
    assert run(app, "users", "set-role", "theo@example.com", "user").exit_code == 1, "the last administrator"
    assert run(app, "users", "rename", "theo@example.com", " ").exit_code == 2


def test_sign_ins_are_listed_and_ended_one_by_one_and_all_together(app: Flask, world: World, sign_in: SignIn) -> None:
    user = world.user("theo@example.com")
    clients = [sign_in(user) for _ in range(3)]
    (first, *_) = lines = done(app, "users", "sign-ins", "theo@example.com").splitlines()
    assert len(lines) == 3
    sign_in_id, kind, device, *times = first.split("\t")
    assert (kind, device, times) == ("device", "-", ["2024-03-15T10:30:00.000Z"] * 2)
    done(app, "users", "end-sign-in", "theo@example.com", sign_in_id)
    statuses = [client.get("/api/v1/auth/me").status_code for client in clients]
    assert sorted(statuses) == [200, 200, 401]
    again = run(app, "users", "end-sign-in", "theo@example.com", sign_in_id)
    assert "has no sign-in" in again.output
    assert done(app, "users", "end-sign-in", "theo@example.com", "--all") == "Ended 2 sign-ins of theo@example.com.\n"
    assert done(app, "users", "sign-ins", "theo@example.com") == ""
    assert run(app, "users", "end-sign-in", "theo@example.com").exit_code == 2


@pytest.mark.parametrize(
    "command",
    [["set-password", "--password-stdin"], ["deactivate"], ["reactivate"], ["sign-ins"], ["end-sign-in", "--all"]],
)
def test_a_user_who_is_not_there_is_named(app: Flask, command: list[str]) -> None:
    result = run(app, "users", *command, "nobody@example.com", stdin=NEW)
    assert result.exit_code == 1
    assert "There is no user nobody@example.com" in result.output


def test_config_shows_effective_values_and_no_secrets(environment: dict[str, str]) -> None:
    secrets = {"FIELDPOST_SECRET_KEY": "sesame" * 8, "FIELDPOST_SECRET_KEY_PREVIOUS": "simsim" * 8}
    app = create_app({**environment, **secrets, "FIELDPOST_MAX_BATCH_ITEMS": "7", "FIELDPOST_MISSPELT": "sesame"})
    output = run(app, "config").output
    assert "FIELDPOST_MAX_BATCH_ITEMS=7\n" in output
    assert "FIELDPOST_SECRET_KEY=********\n" in output
    assert re.search(r"^DATABASE_URL=(sqlite|postgresql\+psycopg)://\*{8}$", output, re.MULTILINE)
    assert "PORT=8000\n" in output
    assert "# FIELDPOST_MISSPELT is no setting of Fieldpost or an installed plugin" in output
    assert "sesame" not in output
    assert "simsim" not in output


def test_config_shows_no_secrets_of_plugins(app: Flask) -> None:
    plugin = Plugin(name="hook", api_version=API_VERSION)
    registry = app.extensions["fieldpost.registry"]
    registry.installed["hook"] = Installed(plugin=plugin, entry_point="hook:plugin", distribution="hook", version="1")
    secrets = {"smtp_pass": "sesame", "api_token": "sesame", "address": "https://ada:sesame@hook.example/x"}
    app.extensions[SETTINGS]["hook"] = {**secrets, "days": 3}
    lines = run(app, "config").output.splitlines()
    assert [line for line in lines if line.startswith("FIELDPOST_HOOK_")] == [
        "FIELDPOST_HOOK_SMTP_PASS=********",
        "FIELDPOST_HOOK_API_TOKEN=********",
        "FIELDPOST_HOOK_ADDRESS=https://********@hook.example/x",
        "FIELDPOST_HOOK_DAYS=3",
    ]


def test_plugins_are_listed_with_their_origin_and_policy(app: Flask) -> None:
    types, plugins = run(app, "plugins").output.split("\n\n")
    header, *lines = [line.split() for line in plugins.splitlines()]
    assert header == ["PLUGIN", "DISTRIBUTION", "VERSION"]
    assert ["console", "fieldpost-console", version("fieldpost-console")] in lines
    header, *lines = [line.split() for line in types.splitlines()]
    assert header == ["TYPE", "ALIASES", "DISTRIBUTION", "VERSION", "POLICY"]
    found = {line[0]: line[1:] for line in lines}
    assert sorted(found) == ["form_fill", "inspection", "photo_delete", "signature_delete"]
    assert found["form_fill"][0] == "form_fill_update"
    assert found["photo_delete"][0] == "-"
    assert {line[1] for line in found.values()} == {"fieldpost"}
    assert {line[3] for line in found.values()} == {"app.policies.change"}


@pytest.mark.parametrize(
    "command",
    [
        ["demo"],
        ["users", "list"],
        ["users", "deactivate", "ada@example.com"],
        ["storage", "gc"],
        ["ledger", "prune"],
        ["maintenance"],
        ["backup", "nothing.tar"],
    ],
)
def test_a_database_without_tables_is_told_with_what_to_do(app: Flask, command: list[str]) -> None:
    with app.app_context(), writing(db.engine) as connection:
        connection.execute(text("ALTER TABLE users RENAME TO people"))
    result = run(app, *command)
    assert result.exit_code == 1
    assert "has no tables of Fieldpost's. If this is not the server's database, give this command" in result.output
    assert "`fieldpost db upgrade`" in result.output
    assert not Path("nothing.tar").exists()


def test_demo_data_can_be_worked_with_at_once(app: Flask, world: World) -> None:
    result = run(app, "demo", "--anyway")
    assert result.exit_code == 0, result.output
    passwords = printed_passwords(result.output)
    assert set(passwords) == {"admin@example.com", "technician@example.com"}
    assert {login(app, email, password) for email, password in passwords.items()} == {200}
    people = {user.role: user.id for user in world.all(User)}
    inspections = world.all(Inspection)
    assert len(inspections) == len(world.all(FormFill)) == 3
    assert people["technician"] in {each.assignee_id for each in inspections}
    assert {each.owner_id for each in inspections} == {people["admin"]}
    (template,) = world.all(FormTemplate)
    assert {field["type"] for field in template.form_structure} >= {"text", "select", "photo", "signature"}
    assert {operation.door for operation in world.all(LedgerOperation)} == {"cli", "sync", "upload", "office"}


def test_demo_data_tells_of_two_people_at_work(app: Flask, world: World) -> None:
    assert run(app, "demo", "--anyway").exit_code == 0
    assert [inspection.status for inspection in world.all(Inspection)] == ["pending", "in_progress", "completed"]
    first, second, third = (form_fill.data for form_fill in world.all(FormFill))
    assert first == {}, "there is something left to do"
    assert second["Location_row_1"] == "Entrance, right", "the later change of the same version is a conflict"
    assert third["Valve_Open"] == "no"
    assert sorted(attachment.kind for attachment in world.all(Attachment)) == [*["photo"] * 4, "signature"]


def printed_passwords(output: str) -> dict[str, str]:
    return dict(re.findall(r"^  (\S+@\S+)  (\S+)  \(", output, re.MULTILINE))


def test_demo_passwords_are_random_and_kept_where_only_the_owner_reads_them(app: Flask, tmp_path: Path) -> None:
    kept = tmp_path / "demo_passwords"
    kept.write_text("admin@example.com of-an-earlier-database\n")
    passwords = printed_passwords(run(app, "demo", "--anyway").output)
    assert len(set(passwords.values())) == 2
    assert {len(password) for password in passwords.values()} == {16}
    assert dict(line.split() for line in kept.read_text().splitlines()) == passwords
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_without_a_place_for_its_passwords_demo_adds_nothing(app: Flask, world: World, tmp_path: Path) -> None:
    (tmp_path / "demo_passwords").mkdir()
    result = run(app, "demo", "--anyway")
    assert result.exit_code == 1
    assert f"cannot be kept in {tmp_path / 'demo_passwords'}" in result.output
    assert world.all(User) == []


@pytest.mark.database("postgresql")
def test_demo_data_is_not_for_postgresql_unless_it_is_told_so(app: Flask, world: World) -> None:
    no_demo_data(app, world, "This server uses PostgreSQL")


@pytest.mark.database("sqlite")
def test_demo_data_is_not_for_a_server_behind_a_proxy_unless_it_is_told_so(
    environment: dict[str, str], world: World
) -> None:
    no_demo_data(create_app({**environment, "FIELDPOST_TRUSTED_PROXIES": "1"}), world, "This server is behind a proxy")


def no_demo_data(app: Flask, world: World, reason: str) -> None:
    """Neither by itself, which is an error, nor at a start, which is none."""
    for options, exit_code in (([], 1), (["--if-empty"], 0)):
        result = run(app, "demo", *options)
        assert result.exit_code == exit_code
        assert reason in result.output
        assert "No demo data was added." in result.output
    assert world.all(User) == []
    assert run(app, "demo", "--if-empty", "--anyway").exit_code == 0
    assert len(world.all(User)) == 2


def test_demo_data_is_for_an_empty_database_only(app: Flask, world: World) -> None:
    world.user()
    result = run(app, "demo")
    assert result.exit_code == 1
    assert "demo data is for an empty database only" in result.output
    assert len(world.all(User)) == 1


def test_demo_if_empty_leaves_a_database_in_use_alone_and_says_so(app: Flask, world: World) -> None:
    world.user()
    result = run(app, "demo", "--if-empty")
    assert result.exit_code == 0
    assert result.output == (
        "There are users already; demo data is for an empty database only. No demo data was added.\n"
    )
    assert len(world.all(User)) == 1
