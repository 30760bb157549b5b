"""Clients that other people have made, installed by npm at their pinned versions, and a server for them."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import SECRET_KEY, sqlite_file
from tests.support.npm import NODE, NPM, SHARE, alone
from tests.support.servers import ROOT, demo_password, environment_of, flask, running

HERE = Path(__file__).parent
PACKAGE = HERE / "package"
PAGE = ROOT / "docs" / "clients.md"


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The installed packages. Test processes that come at the same time wait for one installation."""
    digest = hashlib.sha256((PACKAGE / "package-lock.json").read_bytes()).hexdigest()[:12]
    directory = SHARE / f"clients-{digest}"
    with alone("clients"):
        if not (directory / "complete").exists():
            shutil.copytree(PACKAGE, directory, dirs_exist_ok=True)
            command = [NODE, NPM, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(directory)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, f"The clients could not be fetched from npm's registry: {done.stderr}"
            (directory / "complete").touch()
    return directory / "node_modules"


@pytest.fixture(scope="module")
def workshop(node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules of docs/clients.md and the scenarios, in a directory where Node.js finds the packages."""
    directory = tmp_path_factory.mktemp("workshop")
    shutil.copytree(HERE / "scenarios", directory / "scenarios")
    (directory / "modules").mkdir()
    for module in re.findall(r"```[jt]s\n(.*?)```", PAGE.read_text(), re.DOTALL):
        name = module.partition("\n")[0].removeprefix("// ")
        (directory / "modules" / name).write_text(module)
    for name in ("package.json", "tsconfig.json"):
        shutil.copy(PACKAGE / name, directory)
    (directory / "node_modules").symlink_to(node_modules)
    return directory


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which a scenario finds the server, its administrator and its key."""
    directory = tmp_path_factory.mktemp("server")
    environment = environment_of(directory, FIELDPOST_SECRET_KEY=SECRET_KEY)
    with sqlite_file(directory):
        done = flask(environment, "demo")
    assert done.returncode == 0, done.stderr
    with running(environment) as address:
        yield {
            "FIELDPOST_URL": address,
            "FIELDPOST_SECRET_KEY": SECRET_KEY,
            "FIELDPOST_ADMIN_PASSWORD": demo_password(directory, "admin@example.com"),
        }
