"""`fieldpost support-bundle`: it tells a helper how the server is, and neither secrets nor anything about people."""

from __future__ import annotations

import tempfile
from importlib.metadata import EntryPoint, version
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import orjson
import pytest
from click.testing import CliRunner, Result
from flask import Flask
from prometheus_client.mmap_dict import mmap_key
from sqlalchemy import text

from app import create_app
from app.cli import check
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.core.host import load
from app.core.host.endings import PREFIX
from app.core.host.registry import PLUGINS, entry_points_of
from app.http.numbers import ReservedDict
from app.models import Inspection, User
from app.serving.commands import support_bundle_command
from tests.support.databases import SECRET_KEY

#: Secrets of each kind; no other text has them as a part.
PASSWORDS = {kind: f"correct-horse-{kind}" for kind in ("database", "redis", "s3", "smtp", "proxy")}
TOKEN = "battery-staple-" * 3


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundle's file, beside the data, and in the directory of temporary files."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    return tmp_path / "elsewhere" / "bundle.zip"


def run(app: Flask, target: Path) -> Result:
    return app.test_cli_runner().invoke(args=["support-bundle", str(target)])


def texts_of(app: Flask, target: Path) -> dict[str, bytes]:
    """The members of a new bundle, without their endings."""
    result = run(app, target)
    assert result.exit_code == 0, result.output
    with ZipFile(target) as bundle:
        return {name.removesuffix(".json"): bundle.read(name) for name in bundle.namelist()}


def data_of(app: Flask, target: Path) -> dict[str, Any]:
    return {name: orjson.loads(text) for name, text in texts_of(app, target).items()}


def test_it_tells_what_runs_here_how_it_is_set_and_how_much_it_holds(
    app: Flask, target: Path, inspection: Inspection
) -> None:
    data = data_of(app, target)
    assert data["about"]["database_answers"] is True
    assert data["versions"]["fieldpost"] == version("fieldpost")
    assert data["versions"]["libraries"]["SQLAlchemy"] == version("sqlalchemy")
    assert data["settings"]["effective"]["FIELDPOST_LOG_LEVEL"] == "WARNING"
    assert data["settings"]["effective"]["FIELDPOST_RATE_LIMIT_STORAGE"] == "memory://"
    assert {"part": "migrations", "kind": "ok", "sentence": "none is missing"} in data["check"]
    assert data["migrations"]["fieldpost"]["present"] == data["migrations"]["fieldpost"]["needed"] != []
    assert "photos" in [plugin["name"] for plugin in data["plugins"]["plugins"]]
    assert "form_fill" in [type_["type"] for type_ in data["plugins"]["types"]]
    assert {name: data["rows"]["tables"][name] for name in ("inspections", "users")} == {"inspections": 1, "users": 2}
    assert all(disk["total"] > disk["free"] for disk in data["disk"]["disks"].values())
    with app.app_context():
        assert data["database"]["name"] == db.engine.dialect.name


def test_it_has_no_secret_and_nobodys_address(
    environment: dict[str, str], target: Path, owner: User, inspection: Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> str:
        raise LookupError(f"{owner.email} has {TOKEN} and {PASSWORDS['redis']} and {PASSWORDS['s3']}")

    monkeypatch.setattr(check, "_plugins", fails)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORDS["s3"])
    secrets = {
        "FIELDPOST_SECRET_KEY": SECRET_KEY,
        "FIELDPOST_METRICS_TOKEN": TOKEN,
        "FIELDPOST_RATE_LIMIT_STORAGE": f"redis://:{PASSWORDS['redis']}@127.0.0.1:1/0?socket_connect_timeout=1",
        "FIELDPOST_S3_PUBLIC_ENDPOINT": f"https://somebody:{PASSWORDS['proxy']}@photos.example",
        "FIELDPOST_SMTP_PASSWORD": PASSWORDS["smtp"],
    }
    members = texts_of(create_app({**environment, **secrets}), target)
    whole = b"\n".join(members.values()).decode()
    assert [secret for secret in (SECRET_KEY, TOKEN, *PASSWORDS.values()) if secret in whole] == []
    assert "example.com" not in whole
    assert owner.password_hash not in whole
    assert "LookupError: ******** has ******** and ******** and ********" in whole
    assert '"FIELDPOST_RATE_LIMIT_STORAGE": "redis://********"' in whole
    assert '"FIELDPOST_S3_PUBLIC_ENDPOINT": "https://********@photos.example"' in whole
    assert "FIELDPOST_SMTP_PASSWORD" in orjson.loads(members["settings"])["unknown"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_without_a_database_it_says_so_and_has_all_the_rest(target: Path, kind: str) -> None:
    urls = {"sqlite": "", "postgresql": f"postgresql://somebody:{PASSWORDS['database']}@127.0.0.1:1/fieldpost"}
    settings = {"FIELDPOST_DATA_DIR": str(target.parent / "none"), "FIELDPOST_SECRET_KEY": SECRET_KEY}
    members = texts_of(create_app({**settings, "DATABASE_URL": urls[kind]}, makes_data=False), target)
    assert orjson.loads(members["about"])["database_answers"] is False
    assert [outcome["kind"] for outcome in orjson.loads(members["check"]) if outcome["part"] == "database"] == [
        "FAILED"
    ]
    assert {"versions", "settings", "plugins", "disk"} <= members.keys()
    assert not {"rows", "migrations", "database"} & members.keys()
    assert PASSWORDS["database"].encode() not in b"".join(members.values())
    assert not (target.parent / "none").exists()


@pytest.mark.database("sqlite")
def test_a_table_that_cannot_be_counted_has_its_error_beside_the_others_numbers(app: Flask, target: Path) -> None:
    with app.app_context(), writing(db.engine) as connection:
        connection.execute(text("DROP TABLE sign_ins"))
    tables = data_of(app, target)["rows"]["tables"]
    assert tables["sign_ins"] == {"error": "OperationalError: no such table: sign_ins"}
    assert tables["users"] == 0


@pytest.mark.database("sqlite")
def test_the_numbers_of_a_server_on_this_node_are_in_it(app: Flask, target: Path) -> None:
    directory = target.parent / f"{PREFIX}1"
    directory.mkdir()
    numbers = ReservedDict(str(directory / "counter_1.db"))
    name = "fieldpost_storage_errors"
    numbers.write_value(mmap_key(name, f"{name}_total", [], [], ""), 3.0, 0.0)
    numbers.close()  # type: ignore[no-untyped-call]
    assert data_of(app, target)["metrics"] == {str(directory): [f"{name}_total 3.0"]}


@pytest.mark.database("sqlite")
def test_it_belongs_to_its_owner_alone_and_overwrites_nothing(app: Flask, target: Path) -> None:
    assert run(app, target).exit_code == 0
    assert target.stat().st_mode & 0o777 == 0o600
    content = target.read_bytes()
    result = run(app, target)
    assert result.exit_code == 1
    assert f"{target} is there already. Name a file that is not, or remove it." in result.output
    assert target.read_bytes() == content


@pytest.mark.database("sqlite")
def test_where_it_cannot_be_written_nothing_is_kept(app: Flask, target: Path) -> None:
    result = run(app, target.parent / "nowhere" / "bundle.zip")
    assert result.exit_code == 1
    assert "cannot be written: No such file or directory. Nothing was kept." in result.output


#: How a server can be unable to start: variables, and a sentence that the bundle has about it.
FAULTS = {
    "no key": ({"DATABASE_URL": "postgresql://me:{password}@127.0.0.1:1/x"}, "FIELDPOST_SECRET_KEY is not set, and"),
    "a slash": ({"DATABASE_URL": "postgresql:/me:{password}@127.0.0.1/x"}, "a database that Fieldpost cannot use"),
    "no number": ({"WEB_CONCURRENCY": "many"}, "WEB_CONCURRENCY"),
    "no storage": ({"FIELDPOST_STORAGE": "ftp://me:{password}@photos"}, "FIELDPOST_STORAGE"),
    "a line of the file": ({}, "Line 2 of {file} is no setting. Write NAME=value"),
}


@pytest.mark.database("sqlite")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_does_not_start_has_one_as_well(
    fault: str, environment: dict[str, str], target: Path, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    password, file = PASSWORDS["database"], target.parent / "env"
    # What the file sets is taken back at the end.
    monkeypatch.setenv("FIELDPOST_S3_PUBLIC_ENDPOINT", "")
    monkeypatch.delenv("FIELDPOST_S3_PUBLIC_ENDPOINT")
    variables, sentence = FAULTS[fault]
    file.write_text(f"FIELDPOST_S3_PUBLIC_ENDPOINT=https://me:{PASSWORDS['proxy']}@photos.example\n")
    if not variables:
        file.write_text(f"{file.read_text()}export FIELDPOST_METRICS_TOKEN={TOKEN}\n")
    values = {name: value.format(password=password) for name, value in variables.items()}
    for name, value in {**environment, "FIELDPOST_ENVIRONMENT_FILE": str(file), **values}.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(support_bundle_command, [str(target)])
    assert result.exit_code == 0, result.output
    assert "Failed are: start" in result.output
    with ZipFile(target) as bundle:
        members = {name: bundle.read(name).decode() for name in bundle.namelist()}
    check, about = (orjson.loads(members[f"{name}.json"]) for name in ("check", "about"))
    assert (check[0]["part"], about["starts"]) == ("start", False)
    assert sentence.format(file=file) in check[0]["sentence"]
    assert "DATABASE_URL" in variables or about["database_answers"], "the database is asked all the same"
    assert {*variables} <= {*orjson.loads(members["environment.json"])["variables"]}
    whole = "".join(members.values())
    assert [secret for secret in (*PASSWORDS.values(), TOKEN) if secret in whole] == []


@pytest.mark.database("sqlite")
def test_a_plugin_that_does_not_load_and_missing_tables_are_told_beside_all_that_is_there(
    environment: dict[str, str], target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**environment, "DATABASE_URL": "", "FIELDPOST_DATA_DIR": str(target.parent)}.items():
        monkeypatch.setenv(name, value)
    broken = EntryPoint("broken", "nowhere:plugin", PLUGINS)
    monkeypatch.setattr(load, "entry_points_of", lambda group: (*entry_points_of(group), broken))
    (target.parent / "fieldpost.sqlite3").touch()
    result = CliRunner().invoke(support_bundle_command, [str(target)])
    assert "Failed are: start, database. " in result.output
    with ZipFile(target) as bundle:
        check, plugins = (orjson.loads(bundle.read(f"{name}.json")) for name in ("check", "plugins"))
    sentences = [outcome["sentence"] for outcome in check if outcome["kind"] == "FAILED"]
    assert "importing it raised ModuleNotFoundError: No module named 'nowhere'" in sentences[0]
    assert "has no tables of Fieldpost's" in sentences[1]
    assert "photos" in [plugin["name"] for plugin in plugins["plugins"]]
