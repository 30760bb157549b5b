"""A start that cannot succeed: one clear message, no traceback, an exit code, no loop of dying workers."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.support.servers import ROOT, environment_of, flask, gunicorn

#: gunicorn's own exit code for an application that cannot be loaded.
CANNOT_LOAD = 4

BROKEN = [
    ({"FIELDPOST_SECRET_KEY": "short"}, "FIELDPOST_SECRET_KEY has 5 bytes"),
    ({"FIELDPOST_MAX_BATCH_ITEMS": "many"}, "FIELDPOST_MAX_BATCH_ITEMS='many' is not a whole number"),
    ({"PORT": "http"}, "PORT='http' is not a whole number"),
    ({"WEB_CONCURRENCY": "many"}, "WEB_CONCURRENCY='many' is not a whole number"),
    ({"FIELDPOST_STORAGE": "ftp://photos"}, "FIELDPOST_STORAGE='ftp://photos'"),
    ({"FIELDPOST_LOGIN_RATE": "often"}, "FIELDPOST_LOGIN_RATE='often'"),
    ({"FIELDPOST_RATE_LIMIT_STORAGE": "async+memory://"}, "FIELDPOST_RATE_LIMIT_STORAGE cannot be used"),
    ({"FIELDPOST_RATE_LIMIT_STORAGE": "radish://:secret@x"}, "FIELDPOST_RATE_LIMIT_STORAGE cannot be used: 'radish'"),
    ({"DATABASE_URL": "mysql://localhost/fieldpost"}, "DATABASE_URL"),
    ({"DATABASE_URL": "postgresql://joe:pw@127.0.0.1:notaport/x"}, "DATABASE_URL cannot be read"),
    ({"DATABASE_URL": "postgresql://joe:open@sesame@127.0.0.1/x"}, "DATABASE_URL has more than one @."),
    ({"DATABASE_URL": "sqlite:////nonexistent/fieldpost.sqlite3"}, "in /nonexistent, which is no directory"),
]


def test_flask_says_what_is_wrong_and_stops(tmp_path: Path) -> None:
    settings, sentence = BROKEN[0]
    result = flask(environment_of(tmp_path, **settings), "users", "list")
    assert result.returncode == CANNOT_LOAD
    assert result.stderr.startswith("Fieldpost cannot start. ")
    assert sentence in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.parametrize(("settings", "sentence"), BROKEN)
def test_a_process_that_cannot_start_says_why_and_ends(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    settings: dict[str, str],
    sentence: str,
) -> None:
    """`wsgi.py` as `flask` and gunicorn load it, in this process: most of a start of theirs is spent on loading."""
    for name, value in environment_of(tmp_path, **settings).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "wsgi.py"))
    assert ended.value.code == CANNOT_LOAD
    printed = capfd.readouterr()
    assert printed.err.startswith("Fieldpost cannot start. ")
    assert sentence in printed.err
    assert "Traceback" not in printed.out + printed.err


def test_gunicorn_says_what_is_wrong_and_stops(tmp_path: Path) -> None:
    settings, sentence = BROKEN[0]
    # Several workers fail at about the same time: gunicorn must have but one of them to report.
    result = gunicorn(environment_of(tmp_path, WEB_CONCURRENCY="4", **settings))
    assert result.returncode == CANNOT_LOAD, result.stderr
    assert f"Fieldpost cannot start. {sentence}" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("PORT=http", "PORT='http' is not a whole number. Set it to one, or unset it."),
        ("PORT=70000", "PORT=70000 is above the greatest possible value, 65535. Lower it."),
        (
            "FIELDPOST_METRICS_PORT=-1",
            "FIELDPOST_METRICS_PORT=-1 is below the least possible value, 0. Raise it or unset it.",
        ),
        ("WEB_CONCURRENCY=0", "WEB_CONCURRENCY=0 is below the least possible value, 1. Raise it or unset it."),
        ("WEB_CONCURRENCY=1001", "WEB_CONCURRENCY=1001 is above the greatest possible value, 1000. Lower it."),
    ],
)
def test_gunicorn_refuses_a_number_that_cannot_be_in_one_sentence(tmp_path: Path, setting: str, sentence: str) -> None:
    name, _, value = setting.partition("=")
    result = gunicorn(environment_of(tmp_path, **{name: value}))
    assert result.returncode == 1
    assert result.stderr == f"Fieldpost cannot start. {sentence}\n"
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == [], "no worker was started"


def test_a_command_without_its_database_says_so_and_shows_no_password(tmp_path: Path) -> None:
    url = "postgresql://joe:sesame@127.0.0.1:1/none"
    result = flask(environment_of(tmp_path, DATABASE_URL=url, FIELDPOST_SECRET_KEY="k" * 48), "db", "upgrade")
    assert result.returncode == 1
    assert "Error: The database did not do this: connection failed" in result.stderr
    assert "DATABASE_URL" in result.stderr
    assert "Traceback" not in result.stderr
    assert "sesame" not in result.stderr
