"""A start that cannot succeed: one clear message, no traceback, an exit code, no loop of dying workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT, environment_of, flask

#: gunicorn's own exit code for an application that cannot be loaded.
CANNOT_LOAD = 4

BROKEN = [
    ({"FIELDPOST_SECRET_KEY": "short"}, "FIELDPOST_SECRET_KEY has 5 bytes"),
    ({"FIELDPOST_MAX_BATCH_ITEMS": "many"}, "FIELDPOST_MAX_BATCH_ITEMS='many' is not a whole number"),
    ({"PORT": "http"}, "PORT='http' is not a whole number"),
    ({"WEB_CONCURRENCY": "many"}, "WEB_CONCURRENCY='many' is not a whole number"),
    ({"FIELDPOST_STORAGE": "ftp://photos"}, "FIELDPOST_STORAGE='ftp://photos'"),
    ({"FIELDPOST_LOGIN_RATE": "often"}, "FIELDPOST_LOGIN_RATE='often'"),
    ({"DATABASE_URL": "mysql://localhost/fieldpost"}, "DATABASE_URL"),
]


def gunicorn(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run gunicorn until it gives up; a server that loops instead fails the test by the time-out."""
    command = [sys.executable, "-m", "gunicorn", "wsgi:app"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("settings", "sentence"), BROKEN)
def test_flask_says_what_is_wrong_and_stops(tmp_path: Path, settings: dict[str, str], sentence: str) -> None:
    result = flask(environment_of(tmp_path, **settings), "users", "list")
    assert result.returncode == CANNOT_LOAD
    assert result.stderr.startswith("Fieldpost cannot start. ")
    assert sentence in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_gunicorn_says_what_is_wrong_and_stops(tmp_path: Path) -> None:
    settings, sentence = BROKEN[0]
    # Several workers fail at about the same time: gunicorn must have but one of them to report.
    result = gunicorn(environment_of(tmp_path, WEB_CONCURRENCY="4", **settings))
    assert result.returncode == CANNOT_LOAD, result.stderr
    assert f"Fieldpost cannot start. {sentence}" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_gunicorn_refuses_a_port_that_is_none(tmp_path: Path) -> None:
    result = gunicorn(environment_of(tmp_path, PORT="http"))
    assert result.returncode == 1
    assert "'http' is not a valid port number" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
