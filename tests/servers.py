"""A real server for tests: gunicorn with the project's own configuration, on loopback, on a free port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent


def environment_of(directory: Path, **more: str) -> dict[str, str]:
    """The process's environment with settings for a server in `directory`, on a free port."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FIELDPOST_")}
    return {
        **inherited,
        "DATABASE_URL": "",
        "FIELDPOST_DATA_DIR": str(directory),
        "FIELDPOST_LOG_LEVEL": "WARNING",
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "WEB_CONCURRENCY": "2",
        **more,
    }


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def flask(environment: Mapping[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run `flask --app wsgi …` as a user would."""
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, input=stdin, capture_output=True, text=True, check=False)


def start(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start gunicorn and wait until it answers."""
    command = [sys.executable, "-m", "gunicorn", "--log-level=warning", "wsgi:app"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    url = f"http://127.0.0.1:{environment['PORT']}/healthz"
    for _ in range(300):
        assert process.poll() is None, f"gunicorn ended with {process.returncode}"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return process
        except OSError:
            time.sleep(0.05)
    raise AssertionError("gunicorn did not answer within 15 seconds")


def stop(process: subprocess.Popen[bytes], sign: int = signal.SIGTERM) -> int:
    """Send the signal, wait, and return the exit code."""
    process.send_signal(sign)
    return process.wait(timeout=60)


@contextmanager
def running(environment: Mapping[str, str]) -> Iterator[str]:
    """A server for as long as the block lasts; its address."""
    process = start(environment)
    try:
        yield f"http://127.0.0.1:{environment['PORT']}"
    finally:
        stop(process)
