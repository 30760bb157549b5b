"""Fieldpost itself as a wheel: which packages it installs, and that its program works wherever it is called."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.outsider.conftest import Environment, build
from tests.outsider.test_installed import ADMIN
from tests.support.servers import ROOT, demo_password, environment_of, stop, wait_for

#: All that a wheel is made of.
SOURCES = ("app", "plugins", "migrations", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


#: The newest migration.
NEWEST = max(path.name[:4] for path in (ROOT / "migrations" / "versions").glob("0*.py"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("fieldpost") / "source"
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (source / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, source / name)
    return build(source, tmp_path_factory.mktemp("fieldpost_wheel"))


def test_a_wheel_installs_two_packages_and_no_migrations_beside_them(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.split("/")[0] for name in names if not name.startswith("fieldpost-")}
    assert packages == {"app", "plugins"}
    shipped = {name.removeprefix("app/_migrations/") for name in names if name.startswith("app/_migrations/")}
    there = {str(path.relative_to(ROOT / "migrations")) for path in (ROOT / "migrations").rglob("*.*")}
    assert shipped == {name for name in there if not name.endswith(".pyc")}


@pytest.fixture(scope="module")
def console_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = shutil.copytree(ROOT / "plugins" / "console", tmp_path_factory.mktemp("console") / "source")
    return build(source, tmp_path_factory.mktemp("console_wheel"))


@pytest.fixture(scope="module")
def environment(wheel: Path, console_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment far from the source, with the wheel and that of the console in it."""
    found = Environment(tmp_path_factory.mktemp("installed") / "environment", borrows_fieldpost=False)
    found.install(wheel, console_wheel)
    return found


#: What is printed behind the output of each command.
END = "-- the end of a command --"

#: Runs each argument as the program `fieldpost` would.
COMMANDS = f"""
import sys
from app.serving.program import main
for command in sys.argv[1:]:
    sys.argv = ["fieldpost", *command.split()]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
    print("{END}", flush=True)
"""


#: A machine 345 minutes ahead of UTC whose locale has no letters beyond ASCII. Neither must matter.
ELSEWHERE = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


class Installed:
    """The program of an installed wheel, called in a directory that has nothing to do with it."""

    def __init__(self, environment: Environment, place: Path) -> None:
        self.environment = environment
        self.place = place
        settings = place / "env"
        self.variables = {
            **environment_of(place / "data"),
            "FIELDPOST_ENVIRONMENT_FILE": str(settings),
            **ELSEWHERE,
        }
        settings.write_text(f"FIELDPOST_DATA_DIR={self.variables.pop('FIELDPOST_DATA_DIR')}\n")

    def run(self, *commands: str) -> list[str]:
        """The outputs of commands that must succeed, all of them in one process: its start takes the time of ten."""
        python = [str(self.environment.python), "-P", "-c", COMMANDS, *commands]
        result = subprocess.run(python, cwd=self.place, env=self.variables, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout.split(END)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The address of a server, for as long as the block lasts."""
        process = subprocess.Popen(
            [self.environment.python.with_name("fieldpost"), "serve"], cwd=self.place, env=self.variables
        )
        address = f"http://127.0.0.1:{self.variables['PORT']}"
        try:
            wait_for(address, process)
            yield address
        finally:
            assert stop(process) == 0


def test_an_installed_wheel_migrates_is_backed_up_serves_and_syncs_far_from_its_source(
    environment: Environment, tmp_path: Path
) -> None:
    installed = Installed(environment, tmp_path)
    # A directory of this name must not be taken for the package.
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    upgraded, current, _, backup, verified, _ = installed.run(
        "db upgrade", "db current", "demo", "backup Büro.tar", "backup verify Büro.tar"
    )
    assert f"fieldpost: at migration {NEWEST}" in upgraded
    assert f"{NEWEST} (head)" in current
    assert "2 users, 3 inspections, 3 form fills, 5 attachments" in backup
    assert "2 users, 3 inspections" in verified
    with installed.serving() as address:
        body = {"email": ADMIN, "password": demo_password(tmp_path / "data", ADMIN)}
        token = post(f"{address}/api/v1/auth/login", body)["access_token"]
        item = {"type": "form_fill", "local_id": "1", "data": {"id": 1, "changes": {"Location_row_1": "Łódź, 東"}}}
        answer = post(f"{address}/api/v1/sync", {"sync_items": [item]}, token)
        (entry,) = answer["results"]["success"]
        for moment in (answer["synced_at"], entry["updated_at"]):
            assert abs(datetime.fromisoformat(moment) - datetime.now(UTC)) < timedelta(minutes=90)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Büro.tar", "app", "data", "env"]


def post(url: str, body: object, token: str = "") -> Any:
    """The JSON answer of a POST."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)
