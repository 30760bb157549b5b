"""docs/operating.md: its commands, taken from the page and run one after the other on a server with data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner
from flask import Flask
from flask.cli import ScriptInfo
from moto import mock_aws

from app import create_app
from app.attachments.storage.s3 import client
from app.core.database.engine import close_connections
from app.models import SignIn, User
from app.serving.commands import Program
from app.testing import sign_in
from tests.attachments.conftest import upload
from tests.attachments.storage import s3_servers
from tests.conftest import SettableClock, World
from tests.support.servers import ROOT
from tests.support.typed import Typed, blocks_of

PAGE = (ROOT / "docs" / "operating.md").read_text()
BLOCKS = blocks_of(PAGE)

#: The beginnings of commands that are not run here -> where they are, or what they need.
NOT_HERE = {
    "make": "the environment that tests run in; tests/test_readme.py runs the commands of `make run`",
    "python3 -m venv": "tests/outsider/test_wheel.py",
    "/opt/fieldpost/bin/pip": "tests/outsider/test_wheel.py",
    "ln": "root",
    "pip install": "a package index; tests/outsider/test_resumable_uploads.py installs what lies in this repository",
    "pip uninstall": "tests/outsider/test_installed.py",
    "fieldpost serve": "tests/outsider/test_wheel.py",
    "fieldpost plugins remove meter_reading": "a plugin with tables: tests/cli/test_plugins.py",
    "useradd": "root",
    "install": "root",
    "runuser": "root",
    "systemctl": "systemd; tests/test_deployment.py has it look at the units",
    "podman": "a container runtime; tests/test_deployment.py reads the files for it",
    "cd": "a shell that lasts",
    "export": "a shell that lasts; tests/guards/test_commands.py looks at the names",
    "git pull": "a newer release",
    "pg_basebackup": "benchmarks/recovery.py",
}

#: Words that stand for others, and places that the machine of the tests has not got.
EMAIL, PASSWORD = "theo@example.com", "three or four words"
STAND_INS = {"EMAIL": EMAIL, "ROLE": "technician", "admin|technician|user": "technician", "NAME": "Theo"}

pytestmark = [pytest.mark.database("sqlite"), pytest.mark.usefixtures("_credentials")]

_credentials = s3_servers._credentials


def begins(command: Typed, start: str) -> bool:
    return f"{command} ".startswith(f"{start} ")


def is_run_here(command: Typed) -> bool:
    return not any(begins(command, start) for start in NOT_HERE)


def test_each_command_is_run_here_or_it_is_said_where() -> None:
    commands = [command for block in BLOCKS for command in block]
    assert {command.words[0] for command in commands if is_run_here(command)} == {"fieldpost"}
    assert [start for start in NOT_HERE if not any(begins(command, start) for command in commands)] == []
    named = re.findall(r"(?:tests|benchmarks)/[\w/]+\.py", " ".join(NOT_HERE.values()))
    assert [path for path in named if not (ROOT / path).is_file()] == []


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    mail = {"SMTP_URL": "smtp://localhost:9?plain=1", "MAIL_FROM": "f@example.com", "PUBLIC_URL": "https://example.com"}
    return {**environment, **{f"FIELDPOST_{name}": value for name, value in mail.items()}}


@pytest.fixture
def clock() -> SettableClock:
    """At the time that the name of the page's backup in a bucket tells of."""
    clock = SettableClock()
    clock.time = clock.time.replace(hour=3, minute=45)
    return clock


@pytest.fixture
def _buckets() -> Iterator[None]:
    """The buckets of the page, in this process."""
    client.cache_clear()
    with mock_aws():
        amazon = boto3.client("s3")
        for name in ("photos", "backups"):
            amazon.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        yield
    client.cache_clear()


class Machine:
    """A machine with a server's data, and an empty one, at whose terminals somebody types."""

    def __init__(self, app: Flask, empty: Flask, directory: Path) -> None:
        self.app, self.empty = app, empty
        self.world = World(app)
        owner = self.world.user("owner@example.com", "user")
        self.form_fill = self.world.form_fill(self.world.inspection(owner, customer={"name": "Acme Ltd"}))
        upload(sign_in(app, owner), self.form_fill)
        (directory / "backup").mkdir()
        (directory / "password.txt").write_text(PASSWORD)
        self.places = {
            "/backup": str(directory / "backup"),
            "postgresql://fieldpost:password@db.example.com/fieldpost": f"sqlite:///{directory}/moved.sqlite3",
        }

    def type(self, command: Typed, app: Flask) -> Any:
        """Run a command; its output goes to the file that it names."""
        if "EMAIL" in command.words and "create" not in command.words:
            self.theo()
        words = [self.stand_in(word) for word in command.words[1:]]
        typed = f"{PASSWORD}\n" if "--password-stdin" in words else "y\n"
        typed = Path(command.reads).read_text() if command.reads else typed
        result = CliRunner().invoke(Program(), words, input=typed, obj=ScriptInfo(create_app=lambda: app))
        if command.writes:
            Path(command.writes).write_bytes(result.stdout_bytes)
        return result

    def theo(self) -> User:
        """The person of whom the page tells, who is erased on it, too."""
        there = [user for user in self.world.all(User) if user.email == EMAIL]
        return there[0] if there else self.world.user(EMAIL)

    def stand_in(self, word: str) -> str:
        """The word to be typed in place of that on the page."""
        if word == "SIGN_IN":
            former = {row.id for row in self.world.all(SignIn)}
            sign_in(self.app, self.theo())
            return next(str(row.id) for row in self.world.all(SignIn) if row.id not in former)
        if word == "ID":
            return str(self.form_fill.id)
        for place, other in self.places.items():
            if word.startswith(place):
                return word.replace(place, other, 1)
        return STAND_INS.get(word, word)


@pytest.fixture
def machine(
    app: Flask, environment: dict[str, str], clock: SettableClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Machine]:
    terminal = tmp_path / "terminal"
    terminal.mkdir()
    monkeypatch.chdir(terminal)
    empty = create_app({**environment, "FIELDPOST_DATA_DIR": str(tmp_path / "empty")}, clock)
    yield Machine(app, empty, terminal)
    close_connections(empty)


@pytest.mark.usefixtures("_buckets")
def test_the_commands_do_what_the_page_says(machine: Machine, clock: SettableClock) -> None:
    for block in BLOCKS:
        commands = [command for command in block if is_run_here(command)]
        app = machine.empty if any("restore" in command.words for command in commands) else machine.app
        for command in commands:
            result = machine.type(command, app)
            assert result.exit_code == 0, f"{command}: {result.output}"
        # Backups that are to be kept are named after the time.
        if any("backup" in command.words for command in commands):
            clock.forward(minutes=1)


def test_the_page_names_each_line_of_the_upkeep(machine: Machine) -> None:
    table = PAGE.split("| line of its output | removed |\n")[1].split("\n\n")[0]
    lines = machine.type(Typed(("fieldpost", "maintenance")), machine.app).stdout.splitlines()
    named = set(re.findall(r"^\| `([a-z -]+): removed", table, re.MULTILINE))
    assert {line.partition(":")[0] for line in lines} == named - {"plugin resumable_uploads"}
