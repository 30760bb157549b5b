"""Only the user that runs the server can read what it keeps."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE

import pytest
from flask import Flask

from app import create_app, testing
from app.core.host.migrations import upgrade
from app.core.private_files import OTHERS
from tests.attachments.conftest import upload
from tests.conftest import World

pytestmark = pytest.mark.database("sqlite")


@pytest.fixture(autouse=True)
def _usual_mask() -> Iterator[None]:
    """Files are made for everybody to read unless somebody cares."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_to_others(directory: Path) -> list[Path]:
    """The directory and everything in it on which others have any rights."""
    return [path for path in (directory, *directory.rglob("*")) if S_IMODE(path.stat().st_mode) & OTHERS]


def started(directory: Path) -> Flask:
    return create_app({"FIELDPOST_DATA_DIR": str(directory), "DATABASE_URL": "", "FIELDPOST_LOG_LEVEL": "INFO"})


def test_a_new_server_keeps_everything_to_itself(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    app = started(directory)
    with app.app_context():
        upgrade()
    world = World(app)
    user = world.user()
    assert upload(testing.sign_in(app, user), world.form_fill(world.inspection(user))).status_code == 200
    names = {path.name for path in directory.iterdir()}
    assert {"fieldpost.sqlite3", "fieldpost.sqlite3-wal", "fieldpost.sqlite3-shm", "secret_key", "attachments"} <= names
    assert open_to_others(directory) == []


def test_files_that_were_open_to_others_are_closed_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "data"
    started(directory)
    opened = [directory / name for name in ("attachments", "fieldpost.sqlite3", "fieldpost.sqlite3-wal", "secret_key")]
    opened[0].mkdir()
    for path in opened[1:]:
        path.touch()
    for path in opened:
        path.chmod(0o755)
    with caplog.at_level(logging.INFO):
        started(directory)
    assert open_to_others(directory) == []
    told = [record.getMessage() for record in caplog.records if "was open to other users" in record.getMessage()]
    assert [sentence.partition(" ")[0] for sentence in told] == [str(opened[i]) for i in (0, 3, 1, 2)]


def test_a_data_directory_that_others_may_enter_is_told_and_left_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o755)
    started(tmp_path)
    assert f"{tmp_path} is open to other users of this machine: run `chmod go-rwx`" in caplog.text
    assert S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_files_of_somebody_else_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fieldpost.sqlite3").touch(0o644)

    def refuse(*_: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "chmod", refuse)
    started(tmp_path)
    assert f"{tmp_path / 'fieldpost.sqlite3'} is open to other users of this machine" in caplog.text
