"""Processes of Python that begin with Fieldpost and its libraries loaded.

A server or a command takes two seconds of processor time to start, nearly all of it for modules that it imports. These
processes are forked from one that has imported them (`multiprocessing`'s fork server). Each then has the environment,
the directory, the arguments and the output of a process that was started anew.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import runpy
import site
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import reduction
from pathlib import Path
from types import ModuleType
from typing import IO, Any

ROOT = Path(__file__).parent.parent.parent

#: What servers and commands import.
MODULES = [
    "alembic.command",
    "apispec.ext.marshmallow",
    "argon2",
    "flask.cli",
    "flask_compress",
    "flask_cors",
    "flask_jwt_extended",
    "flask_login",
    "flask_migrate",
    "flask_sqlalchemy",
    "flask_swagger_ui",
    "flask_wtf",
    "gunicorn.app.wsgiapp",
    "gunicorn.workers.gthread",
    "importlib.metadata",
    "limits",
    "orjson",
    "PIL.ImageDraw",
    "PIL.ImageOps",
    "psycopg",
    "reportlab.platypus",
    "rfc8785",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "smtplib",
    "structlog",
    "tarfile",
    "urllib.request",
    "webargs.flaskparser",
    "xlsxwriter",
    "zipstream",
    "tests.support.forks",
    "tests.support.preloaded",
]

#: The processes have nothing of this one but their arguments.
forking = multiprocessing.get_context("forkserver")
forking.set_forkserver_preload(MODULES)


class _Descriptor:
    """A file descriptor of this process, which the process gets that it is sent to."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (reduction.DupFd(self._number),)


def _received(descriptor: Any) -> int:
    number: int = descriptor.detach()
    return number


_starting = threading.Lock()


@contextmanager
def _without_main() -> Iterator[None]:
    """Let no process that begins in the block import this one's main module, which would be pytest."""
    with _starting:
        main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


@dataclass(frozen=True)
class Program:
    """A module that runs as `python -m` would run it, or `-c` and a text of Python, and their arguments."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    directory: Path = ROOT
    #: Directories with distributions that are installed for it.
    sites: Sequence[Path] = field(default_factory=tuple)


class Forked(subprocess.Popen[bytes]):
    """A process that was forked, to be used like one that was started."""

    def __init__(self, program: Program, outputs: Sequence[int] = (1, 2)) -> None:
        self.args = program.arguments
        self.stdin = self.stdout = self.stderr = None
        self._child_created = False
        descriptors = [_Descriptor(number) for number in outputs]
        self._process = forking.Process(target=_run, args=(program, descriptors), daemon=True)
        with _without_main():
            self._process.start()
        self.pid = self._process.pid or 0

    @property
    def returncode(self) -> int | None:  # type: ignore[override]
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self._process.exitcode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)


def run(program: Program, stdin: str = "", timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run it to its end, as `subprocess.run` does with captured output."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        process = Forked(program, [given.fileno(), out.fileno(), err.fileno()])
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(list(program.arguments), code, _read(out), _read(err))


def run_text(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, **_options: Any
) -> subprocess.CompletedProcess[str]:
    """Stands in for `subprocess.run` of `python -c` and a text of Python, which must succeed."""
    done = run(Program(command[1:], env, cwd))
    done.check_returncode()
    return done


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _run(program: Program, descriptors: Sequence[int]) -> None:
    """Become the program, in a process that has just been forked."""
    # Standard output and error, or standard input as well.
    for place, descriptor in enumerate(descriptors, start=3 - len(descriptors)):
        os.dup2(descriptor, place)
        os.close(descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(program.environment)
    os.chdir(program.directory)
    sys.path[1:1] = filter(None, program.environment.get("PYTHONPATH", "").split(os.pathsep))
    for directory in program.sites:
        site.addsitedir(str(directory))
    importlib.invalidate_caches()
    if program.arguments[0] == "-c":
        sys.argv = ["-c", *program.arguments[2:]]
        exec(program.arguments[1], {"__name__": "__main__"})
    else:
        sys.argv = [*program.arguments]
        runpy.run_module(program.arguments[0], run_name="__main__", alter_sys=True)
