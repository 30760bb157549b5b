"""The Makefile says what it can do, and installs pinned releases of everything that each `setup.cfg` asks for."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import distributions

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.conftest import LONG, SLOW
from tests.guards.sources import ROOT
from tools.release import unpinned

MAKEFILE = (ROOT / "Makefile").read_text()
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
#: Name -> release.
PINS = {canonicalize_name(name): release for name, _, release in (line.partition("==") for line in LINES)}


def test_make_alone_lists_every_target() -> None:
    printed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = dict(re.findall(r"^  ([a-z-]+) +(\S.+)$", printed, re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert targets >= {"help", "run", "test", "lint", "docs", "constraints"}
    assert set(listed) == targets


def test_make_takes_no_target_for_a_file() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) == set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def test_constraints_are_plain_pins_that_serve_every_machine() -> None:
    assert [line for line in LINES if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


def test_everything_that_is_asked_for_is_pinned_to_a_release_that_fits() -> None:
    assert unpinned(ROOT) == [], "run `make constraints`"


def test_every_pinned_release_takes_the_oldest_python() -> None:
    """Debian 12 has Python 3.11.2, which a release for 3.11.5 and newer does not take."""
    pinned = [each for each in distributions() if canonicalize_name(each.name) in PINS]
    assert len(pinned) > 100
    wanted = {each.name: ",".join(each.metadata.get_all("Requires-Python") or []) for each in pinned}
    newer = {name: python for name, python in wanted.items() if "3.11.0" not in SpecifierSet(python)}
    assert newer == {}, "pin older releases of these in constraints.txt"


def test_what_is_installed_here_is_what_is_pinned() -> None:
    installed = {canonicalize_name(each.name): each.version for each in distributions()}
    other = {name: installed[name] for name, release in PINS.items() if installed.get(name, release) != release}
    assert other == {}, "remove .venv/installed-dev, then run `make .venv/installed-dev`"
    assert len(installed.keys() & PINS.keys()) > len(PINS) * 0.9, "some pins are for other systems, but not many"


def test_ci_runs_the_slow_tests_as_well() -> None:
    assert "\nmake test\nmake test-slow\n" in (ROOT / ".ci" / "run").read_text()
    assert all((selection in MAKEFILE) for selection in ('-m "not slow"\n', "-m slow\n"))


def test_the_files_that_take_long_are_there() -> None:
    assert set(SLOW) < set(LONG)
    assert [start for start in LONG if not list(ROOT.glob(f"{start}*"))] == []
