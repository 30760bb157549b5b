"""A real server for tests: gunicorn with the project's own configuration, on loopback, on a free port."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.forks import ROOT, Forked, Program, run

__all__ = ["ROOT"]


def environment_of(directory: Path, **more: str) -> dict[str, str]:
    """The process's environment with settings for a server of one worker in `directory`, on a free port."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FIELDPOST_")}
    return {
        **inherited,
        "DATABASE_URL": "",
        "FIELDPOST_DATA_DIR": str(directory),
        "FIELDPOST_LOG_LEVEL": "WARNING",
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "WEB_CONCURRENCY": "1",
        **more,
    }


#: Below those that the kernel gives to outgoing connections, of which other tests make very many.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port that nobody listens on now, and that only another call of this could take before it is used."""
    # Of the system: Hypothesis sets Python's own generator to the same state again and again.
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def flask(environment: Mapping[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run `flask --app wsgi …` as a user would."""
    return run(Program(["flask", "--app", "wsgi", *arguments], environment), stdin)


def gunicorn(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run gunicorn until it gives up; a server that loops instead fails the test by the time-out."""
    return run(Program(["gunicorn", "wsgi:app"], environment), timeout=60)


def demo_password(directory: Path, email: str) -> str:
    """The password that `flask demo` has made for this person, with this data directory."""
    lines = (directory / "demo_passwords").read_text().splitlines()
    return dict(line.split() for line in lines)[email]


def start(environment: Mapping[str, str], *arguments: str, prefix: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start gunicorn, with Fieldpost unless the arguments say otherwise, and wait until it answers.

    `prefix`: a command that becomes gunicorn, such as `nice`.
    """
    program = ["gunicorn", "--log-level=warning", *(arguments or ["wsgi:app"])]
    if prefix:
        process = subprocess.Popen([*prefix, sys.executable, "-m", *program], cwd=ROOT, env=environment)
    else:
        process = Forked(Program(program, environment))
    wait_for(f"http://127.0.0.1:{environment['PORT']}", process)
    return process


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server of this process answers."""
    # A machine that runs many tests at once may take long.
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, f"gunicorn ended with {process.returncode}"
        with suppress(OSError), urllib.request.urlopen(f"{address}/healthz", timeout=5):
            return
        time.sleep(0.05)
    raise AssertionError("gunicorn did not answer within 60 seconds")


def stop(process: subprocess.Popen[bytes], sign: int = signal.SIGTERM) -> int:
    """Send the signal, wait, and return the exit code."""
    process.send_signal(sign)
    return process.wait(timeout=60)


@contextmanager
def demo_server(directory: Path) -> Iterator[str]:
    """A server with demo data in `directory`, as `make run` starts it; its address."""
    environment = environment_of(directory)
    for step in (["db", "upgrade"], ["demo", "--if-empty"]):
        result = flask(environment, *step)
        assert result.returncode == 0, result.stderr
    with running(environment) as url:
        yield url


@contextmanager
def running(environment: Mapping[str, str], prefix: Sequence[str] = ()) -> Iterator[str]:
    """A server for as long as the block lasts, started as by `start`; its address."""
    process = start(environment, prefix=prefix)
    try:
        yield f"http://127.0.0.1:{environment['PORT']}"
    finally:
        stop(process)
