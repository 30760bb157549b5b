"""The benchmarks still run, each for a moment; what they measure here means nothing."""

from __future__ import annotations

import gc
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import pytest
from argon2 import PasswordHasher

from app.accounts import passwords
from app.clock import system_clock
from tests.support import databases
from tests.support.applications import lent
from tests.support.forks import Forked, Program, run, run_text

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

#: Modules that the others share.
SHARED = {"clusters.py", "devices.py", "load.py", "peers.py", "photos.py", "processes.py", "server.py"}

#: Each script with what makes it quick. Those for plugins are run in `test_many_plugins.py`.
QUICK = {
    "device_day.py": "--database sqlite --devices 1 --share 0.03 --pixels 300000",
    "exports.py": "--database sqlite --inspections 20 --photographed 1",
    "failover.py": "--only awaited --devices 1 --seconds 0.2 --cut 0.2",
    "feed.py": "--database sqlite --sizes 1000 --rounds 1",
    "growth.py": "--database sqlite --times 2 --batch 10 --seconds 0.1 --rounds 1",
    "hostile.py": "--rounds 1 --only auth/login",
    "kills.py": "--kills 2",
    "move.py": "--form-fills 100 --photos 2",
    "memory.py": "--only baseline --uploads 2 --scale 0.05",
    "pages.py": "--database sqlite --inspections 500 --rounds 1 --only outcome=conflict",
    "photo_locks.py": "--database sqlite --photos 8 --pixels 300000",
    "push.py": "--database sqlite --batches 10 --seconds 0.1 --rounds 1",
    "recovery.py": "",
    "scale.py": "--processes 1 --devices 1 --share 0.03 --pixels 300000",
    "set_aside.py": "--database sqlite --rounds 1 --decisions 3",
    "soak.py": "--minutes 0.01 --samples 3",
    "start.py": "--rounds 1 --starts 1",
    "turns.py": ". --database sqlite --devices 1 --seconds 0.1 --rounds 1 --pixels 9999 --kinds '100 refused'",
    "upload.py": "--seconds 0.1 --rounds 1 --pixels 300000",
}
#: The figures that some fail at are for machines that do nothing else.
JUDGING = {"exports.py", "feed.py", "growth.py", "kills.py", "pages.py", "soak.py"}


@pytest.fixture(scope="module")
def _at_hand() -> Iterator[None]:
    """The modules that scripts share, as where a script runs; its servers are cheaper than those of a measurement."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        present = set(sys.modules)
        make_cheap(patch, import_module("server"))
        yield
        for name in sys.modules.keys() - present:
            if (BENCHMARKS / f"{name}.py").exists():
                del sys.modules[name]


#: The server, with passwords whose hashes take no time.
SERVER = """
import runpy, sys
from argon2 import PasswordHasher
from app.accounts import passwords
passwords._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
sys.argv[0] = "gunicorn"
runpy.run_module("gunicorn", run_name="__main__", alter_sys=True)
"""


def make_cheap(patch: pytest.MonkeyPatch, server: Any) -> None:
    """One PostgreSQL for all scripts; a server has one worker unless told, and its database is made in this process."""
    running_server = server.running_server
    patch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))

    @contextmanager
    def running_postgresql() -> Iterator[Any]:
        with databases.postgresql_database("template0") as url:
            yield server.PostgreSQL(url=url, process_id=databases.server().get_pid())

    def with_one_worker(workers: int = 1, **settings: Any) -> AbstractContextManager[Any]:
        found: AbstractContextManager[Any] = running_server(workers, **settings)
        return found

    def set_up(variables: Mapping[str, str], _checkout: Path | None = None) -> None:
        settings = {name: variables[name] for name in ("FIELDPOST_DATA_DIR", "DATABASE_URL")}
        if not settings["DATABASE_URL"]:
            Path(settings["FIELDPOST_DATA_DIR"]).mkdir(exist_ok=True)
            shutil.copy(databases.migrated_file(), settings["FIELDPOST_DATA_DIR"])
        with lent({**settings, "FIELDPOST_SECRET_KEY": databases.SECRET_KEY}, system_clock) as app:
            for command in server.COMMANDS:
                done = app.test_cli_runner().invoke(args=command, input=server.PASSWORD)
                assert done.exit_code == 0, done.output

    def start(variables: Mapping[str, str], log: IO[bytes] | None = None, _checkout: Path | None = None) -> Forked:
        outputs = (1, 2) if log is None else (log.fileno(), log.fileno())
        return Forked(Program(["-c", SERVER, "--log-level=warning", "wsgi:app"], dict(variables)), outputs)

    def run_program(variables: Mapping[str, str], *arguments: str) -> None:
        run(Program(["app.serving.program", *arguments], dict(variables))).check_returncode()

    patch.setattr(server, "start", start)
    patch.setattr(server, "run_program", run_program)
    patch.setattr(server, "running_postgresql", running_postgresql)
    patch.setattr(server, "running_server", with_one_worker)
    patch.setattr(server, "set_up", set_up)


@pytest.mark.usefixtures("_at_hand")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", QUICK)
def test_every_benchmark_runs(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str) -> None:
    path = str(BENCHMARKS / name)
    if name == "start.py":
        monkeypatch.setattr(subprocess, "run", run_text)
    monkeypatch.setattr(sys, "argv", [path, *shlex.split(QUICK[name])])
    code: object = None
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as ended:
        code = ended.code
    # Scripts leave their connections to it.
    gc.collect()
    printed = capfd.readouterr()
    assert printed.out, printed.err
    assert "Traceback" not in printed.err
    assert not code or name in JUDGING, (code, printed.err)


def test_no_benchmark_is_left_out() -> None:
    assert {each.name for each in BENCHMARKS.glob("*.py")} == {*QUICK, *SHARED, "many_plugins.py"}
