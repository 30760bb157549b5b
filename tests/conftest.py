"""Fixtures of all tests: an application on a fresh, migrated database, people, inspections, and a clock to set.

A test that uses a database runs on SQLite and on PostgreSQL; `--database` chooses one of them,
`@pytest.mark.database("sqlite")` says that a test is about one alone.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from _pytest.unraisableexception import gc_collect_iterations_key
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

from app.models import Inspection, User
from tests.support.applications import lent
from tests.support.databases import DATABASES, SECRET_KEY, emptied_database, fast_place, sqlite_file

# Explained like a test's own assertions; to be said before it is imported.
pytest.register_assert_rewrite("app.testing")

from app import testing  # noqa: E402
from app.testing import PASSWORD, PASSWORD_HASH, STRUCTURE, World  # noqa: E402

__all__ = ["PASSWORD", "PASSWORD_HASH", "STRUCTURE", "SettableClock", "SignIn", "World"]


def pytest_configure(config: pytest.Config) -> None:
    """Keeps the directories of tests where files are fast; programs in them must run.

    No property fails because a machine is slow.
    """
    settings.register_profile("patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")
    place = fast_place()
    if not os.statvfs(place).f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", place)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Lets the look for garbage that pytest has just made be the last one of this process: others find nothing."""
    config.stash[gc_collect_iterations_key] = 0
    gc.freeze()


@pytest.fixture(autouse=True)
def _push_request_context() -> None:
    """Replaces pytest-flask's fixture of this name.

    It would push one context around the whole test, in which a request shares the test's session, so that a
    forgotten commit passes (trap 18).
    """


class SettableClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2024, 3, 15, 10, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def forward(self, **period: float) -> None:
        """`clock.forward(minutes=5)`; negative values go back."""
        self.time += timedelta(**period)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=DATABASES, help="run on this database alone")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs whatever uses a database once on each."""
    if "database" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("database")
        metafunc.parametrize("database", marker.args if marker else DATABASES, indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Looks for no garbage while modules and tests are collected, nor among them later: nearly all of it stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        # A test makes some ten thousand objects. Nearly all of those that are garbage go without a look for it.
        gc.set_threshold(10_000, 20, 10)
        gc.enable()


#: Files and folders with the slow tests, which `make test-slow` runs: programs of others do most of their work, or they
#: try a great many generated inputs.
SLOW = (
    "tests/browser/",
    "tests/test_benchmarks.py",
    "tests/outsider/",
    "tests/api/test_schemathesis.py",
    "tests/attachments/storage/test_hostile_pictures.py",
    "tests/clients/",
    "tests/test_many_plugins.py",
    "tests/api/test_clients_in_other_languages.py",
    "tests/api/test_generated_client.py",
    "tests/http/test_fuzz.py",
)

#: The others that take longest. All of these come first: at the end one process would have them all.
LONG = (
    *SLOW,
    "tests/serving/test_gunicorn.py",
    "tests/cli/test_plugins.py",
    "tests/exactly_once/",
    "tests/core/sync/test_races.py",
    "tests/attachments/storage/",
    "tests/serving/",
    "tests/core/sync/test_isolation.py",
    "tests/core/sync/test_plugin_safety.py",
    "tests/feed/test_page.py",
    "tests/core/sync/",
    "tests/core/host/test_migrations.py",
    "tests/test_",
    "tests/cli/",
)


#: Folders whose files share something that takes long: the start of a browser, the syntax trees of all code.
TOGETHER = ("tests/browser/", "tests/guards/")


class FilesTogether(LoadFileScheduling):  # type: ignore[misc]
    """Gives each file to one process, and all files of these folders to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return next((folder for folder in TOGETHER if scope.startswith(folder)), scope)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Replaces `--dist=loadfile`."""
    return FilesTogether(config, log) if config.getvalue("dist") == "loadfile" else None


#: How the reason of a skipped test begins if this machine has not got the thing that it tests.
NOT_TESTED = "NOT TESTED: "


def turn_of(item: pytest.Item) -> int:
    """The place of a test's file among those that take long; all others come after them."""
    return next((turn for turn, start in enumerate(LONG) if item.nodeid.startswith(start)), len(LONG))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks the slow tests, puts the longest files first, and leaves out the tests that `--database` did not choose."""
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker("slow")
    items.sort(key=turn_of)
    chosen = config.getoption("database")
    parameters = {item: getattr(item, "callspec", None) for item in items}
    others = [
        item for item, each in parameters.items() if chosen and each and each.params.get("database", chosen) != chosen
    ]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in red how many tests did not run for want of something that they test."""
    reasons = [str(report.longrepr[2]) for report in terminalreporter.getreports("skipped")]
    for reason, times in Counter(reasons).items():
        if (text := reason.removeprefix("Skipped: ")).startswith(NOT_TESTED):
            terminalreporter.write_line(f"{text} ({times} tests)", red=True, bold=True)


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a fresh, migrated database; empty for the SQLite file in `tmp_path`."""
    with sqlite_file(tmp_path) if request.param == "sqlite" else emptied_database() as url:
        yield url


@pytest.fixture
def environment(tmp_path: Path, database: str) -> dict[str, str]:
    """The environment variables that the application of this test runs with; a test may add to them."""
    key = {"FIELDPOST_SECRET_KEY": SECRET_KEY} if database else {}
    return {
        "FIELDPOST_DATA_DIR": str(tmp_path),
        "DATABASE_URL": database,
        "FIELDPOST_LOG_LEVEL": "WARNING",
        # A machine with too much to do may stop a test for seconds, in the middle of a plugin's code.
        "FIELDPOST_HANDLER_SECONDS": "600",
        **key,
    }


@pytest.fixture
def app(environment: Mapping[str, str], clock: SettableClock) -> Iterator[Flask]:
    """An application on this test's database and clock; several tests may use it, one after another."""
    with lent(environment, clock) as app:
        yield app


@pytest.fixture
def world(app: Flask) -> World:
    return World(app)


SignIn = Callable[..., FlaskClient]


@pytest.fixture
def sign_in(app: Flask) -> SignIn:
    """`sign_in(user, device_id=None)` → a test client that sends the user's access token with every request."""

    return partial(testing.sign_in, app)


# People

#: Fixture -> the role of the person.
ROLES = {"owner": "user", "tech": "technician", "admin": "admin", "stranger": "technician"}


class People:
    """The people of a test, and its inspection: all that the test's fixtures name are made in one unit of work."""

    def __init__(self, world: World, names: Iterable[str]) -> None:
        self._world = world
        self._names = [*names]
        self._rows: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._rows:
            self._rows = self._world.together(partial(self._all_with, name))
        return self._rows[name]

    def _all_with(self, name: str) -> dict[str, Any]:
        rows = {**self._rows}
        for each in [*self._names, name]:
            if each not in rows:
                rows[each] = self._new(each, rows)
        return rows

    def _new(self, name: str, rows: dict[str, Any]) -> Any:
        if name == "inspection":
            return self._world.inspection(rows["owner"], rows["tech"])
        return self._world.user(f"{name}@example.com", ROLES[name])


@pytest.fixture
def named_people(request: pytest.FixtureRequest, world: World) -> People:
    return People(world, _named(request))


def _named(request: pytest.FixtureRequest) -> Iterator[str]:
    """Those of the fixtures below that the test uses, in the order in which pytest would set them up."""
    definitions = request.node._fixtureinfo.name2fixturedefs
    seen: set[str] = set()

    def visit(name: str) -> Iterator[str]:
        if name in seen or name not in definitions:
            return
        seen.add(name)
        definition = definitions[name][-1]
        for argument in definition.argnames:
            yield from visit(argument)
        # A folder may have an `inspection` of its own.
        if definition.func.__module__ == __name__ and name in {*ROLES, "inspection"}:
            yield name

    for name in request.fixturenames:
        yield from visit(name)


@pytest.fixture
def owner(named_people: People) -> User:
    """Somebody who owns an inspection."""
    user: User = named_people["owner"]
    return user


@pytest.fixture
def tech(named_people: People) -> User:
    """The technician to whom it is assigned."""
    user: User = named_people["tech"]
    return user


@pytest.fixture
def admin(named_people: People) -> User:
    """An administrator."""
    user: User = named_people["admin"]
    return user


@pytest.fixture
def stranger(named_people: People) -> User:
    """Another technician, who may not see the inspection."""
    user: User = named_people["stranger"]
    return user


@pytest.fixture
def inspection(named_people: People, owner: User, tech: User) -> Inspection:
    """The inspection of the owner and the technician."""
    row: Inspection = named_people["inspection"]
    return row


@pytest.fixture
def device(sign_in: SignIn, tech: User) -> FlaskClient:
    """The technician's client."""
    return sign_in(tech)


@pytest.fixture
def other(sign_in: SignIn, owner: User) -> FlaskClient:
    """The owner's client: somebody else who changes the same rows."""
    return sign_in(owner)


@pytest.fixture
def office(sign_in: SignIn, admin: User) -> FlaskClient:
    """The administrator's client."""
    return sign_in(admin)
