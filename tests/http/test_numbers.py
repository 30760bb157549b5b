"""The files of the numbers: their pages are reserved, and those of ended workers are merged."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

from app.http import numbers
from app.http.numbers import ReservedDict, merge_ended


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """While the list has an element, there is no room on the disk."""
    signs: list[bool] = []
    reserve = os.posix_fallocate

    def refuse(handle: int, offset: int, size: int) -> None:
        if signs:
            raise OSError(errno.ENOSPC, "No space left on device")
        reserve(handle, offset, size)

    monkeypatch.setattr("app.http.numbers.os.posix_fallocate", refuse)
    monkeypatch.setattr(numbers, "PAUSE_SECONDS", 0.0)
    return signs


def stored(path: Path) -> dict[str, float]:
    """The numbers in a file."""
    found: Any = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
    return {key: number for key, number, _, _ in found}


def blocks(path: Path) -> int:
    """The bytes that a file has on the disk."""
    return path.stat().st_blocks * 512


def ended_process() -> int:
    """The number of a process that is no more."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


@pytest.fixture
def file(path: Path) -> Iterator[ReservedDict]:
    """A worker's file that is open."""
    file = ReservedDict(str(path))
    yield file
    file.close()  # type: ignore[no-untyped-call]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a worker's file."""
    return tmp_path / "counter_1.db"


def write(path: Path, **counts: float) -> None:
    file = ReservedDict(str(path))
    for key, count in counts.items():
        file.write_value(key, count, 0.0)
    file.close()  # type: ignore[no-untyped-call]


def test_prometheus_client_takes_our_files() -> None:
    numbers.reserve_pages()
    assert vars(values)["MmapedDict"] is ReservedDict


def test_a_file_has_all_its_pages_before_they_are_used_when_it_is_new_and_when_it_grows(
    path: Path, file: ReservedDict
) -> None:
    assert blocks(path) >= path.stat().st_size == numbers.FIRST_SIZE
    written = {"key" * 50 + str(index): float(index) for index in range(1000)}
    for key, number in written.items():
        file.write_value(key, number, 0.0)
        assert blocks(path) >= path.stat().st_size
    assert path.stat().st_size > numbers.FIRST_SIZE
    assert stored(path) == written
    assert [file.read_value(key)[0] for key in written] == list(written.values())


def test_without_room_for_the_file_nothing_is_left_and_the_numbers_come_later(
    path: Path, full: list[bool], request: pytest.FixtureRequest
) -> None:
    full.append(True)
    file: ReservedDict = request.getfixturevalue("file")
    assert file.read_value("key") == (0.0, 0.0)
    file.write_value("key", 1.0, 0.0)
    assert list(path.parent.iterdir()) == []
    full.clear()
    file.write_value("key", 2.0, 0.0)
    assert stored(path) == {"key": 2.0}


def test_without_room_to_grow_known_numbers_go_on_and_new_ones_come_later(
    path: Path, file: ReservedDict, full: list[bool]
) -> None:
    file.write_value("known", 1.0, 0.0)
    full.append(True)
    file.write_value("new" * 30_000, 1.0, 0.0)
    file.write_value("known", 2.0, 0.0)
    assert (stored(path), path.stat().st_size) == ({"known": 2.0}, numbers.FIRST_SIZE)
    full.clear()
    file.write_value("new" * 30_000, 3.0, 0.0)
    assert stored(path) == {"known": 2.0, "new" * 30_000: 3.0}


def test_room_is_not_asked_for_at_every_number(
    tmp_path: Path, full: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "PAUSE_SECONDS", 3600.0)
    full.append(True)
    file = ReservedDict(str(tmp_path / "counter_1.db"))
    file.write_value("key", 1.0, 0.0)
    full.clear()
    file.write_value("key", 2.0, 0.0)
    assert list(tmp_path.iterdir()) == []


def test_files_of_fifty_ended_workers_become_one_and_those_of_running_ones_stay(tmp_path: Path) -> None:
    running = f"counter_{os.getpid()}.db"
    write(tmp_path / running, a=100.0)
    for index in range(50):
        process_id = ended_process()
        write(tmp_path / f"counter_{process_id}.db", a=2.0, **{f"b{index % 3}": 1.0})
        write(tmp_path / f"histogram_{process_id}.db", c=0.5)
        merge_ended(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {running, "counter_ended.db", "histogram_ended.db"}
    assert stored(tmp_path / "counter_ended.db") == {"a": 100.0, "b0": 17.0, "b1": 17.0, "b2": 16.0}
    assert stored(tmp_path / "histogram_ended.db") == {"c": 25.0}
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {numbers.FIRST_SIZE}


def test_while_somebody_reads_nothing_is_merged(tmp_path: Path) -> None:
    name = f"counter_{ended_process()}.db"
    write(tmp_path / name, a=1.0)
    with numbers.reading(tmp_path):
        merge_ended(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {name}
    merge_ended(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"counter_ended.db"}


def test_without_room_for_the_sum_all_files_stay(tmp_path: Path, full: list[bool]) -> None:
    names = {f"counter_{ended_process()}.db" for _ in range(2)}
    for name in names:
        write(tmp_path / name, a=1.0)
    full.append(True)
    merge_ended(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names
