"""The directory that the processes of one server share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.serving import shared


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(shared.NAME, "")
    monkeypatch.setattr("app.serving.shared.tempfile.tempdir", str(tmp_path))
    shared.make_directory()
    return Path(os.environ[shared.NAME])


def test_it_is_fresh_and_goes_with_everything_in_it(directory: Path, tmp_path: Path) -> None:
    assert list(directory.iterdir()) == []
    (directory / "numbers.db").touch()
    shared.remove_directory()
    assert list(tmp_path.iterdir()) == []


def test_of_several_workers_that_fail_one_is_the_first(directory: Path) -> None:
    assert [shared.is_first_to_fail() for _ in range(3)] == [True, False, False]


def test_an_ended_worker_has_no_connections_any_more_and_keeps_its_counts(directory: Path) -> None:
    for name in ("gauge_livesum_4711.db", "gauge_livesum_4712.db", "counter_4711.db", "ready-4711"):
        (directory / name).touch()
    shared.close_worker(4711)
    assert {each.name for each in directory.iterdir()} == {"gauge_livesum_4712.db", "counter_4711.db"}
