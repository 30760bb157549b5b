"""The marks of the items under way: read by the master when a worker has ended, and counted by all workers."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.core.host import endings
from app.core.host.endings import SIZE, THREADS, Marks, Slot, keep_endings


def slot_of(marks: Marks) -> Slot:
    slot = marks.slot()
    assert slot is not None
    return slot


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    return Marks(tmp_path)


def test_the_item_under_way_is_found_after_the_worker_has_ended(tmp_path: Path, marks: Marks) -> None:
    assert marks.endings() == {}
    slot_of(marks).put("1 aa")
    assert keep_endings(tmp_path, os.getpid()) == ["1 aa"]
    assert marks.endings() == {"1 aa": 1}
    assert Marks(tmp_path).endings() == {"1 aa": 1}, "every worker knows"


def test_what_is_over_is_nobodys_fault(tmp_path: Path, marks: Marks) -> None:
    slot = slot_of(marks)
    slot.put("1 a-long-mark")
    slot.put("1 aa")
    slot.clear()
    assert keep_endings(tmp_path, os.getpid()) == []
    assert marks.endings() == {}


def test_each_ending_counts(tmp_path: Path) -> None:
    for _ in range(2):
        slot_of(Marks(tmp_path)).put("1 aa")
        keep_endings(tmp_path, os.getpid())
    marks = Marks(tmp_path)
    assert marks.endings()["1 aa"] == 2


def test_each_thread_has_a_slot_as_far_as_there_are_any(tmp_path: Path, marks: Marks) -> None:
    given: list[Slot | None] = []

    def take() -> None:
        slot = marks.slot()
        if slot is not None:
            slot.put(f"1 {len(given)}")
        assert marks.slot() is slot
        given.append(slot)

    for _ in range(THREADS + 1):
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
    assert given[-1] is None
    assert keep_endings(tmp_path, os.getpid()) == [f"1 {number}" for number in range(THREADS)]


def test_a_worker_that_is_ended_on_purpose_blames_the_one_item(tmp_path: Path, marks: Marks) -> None:
    slot_of(marks).put("1 guilty")
    neighbour = threading.Thread(target=lambda: slot_of(marks).put("2 innocent"))
    neighbour.start()
    neighbour.join()
    marks.blame(marks.slot())
    assert keep_endings(tmp_path, os.getpid()) == ["1 guilty"]


def test_a_mark_that_is_too_long_spoils_no_other(tmp_path: Path, marks: Marks) -> None:
    slot_of(marks).put("x" * 2 * SIZE)
    assert keep_endings(tmp_path, os.getpid()) == ["x" * SIZE]


def test_a_worker_without_marks_ends_unnoticed(tmp_path: Path) -> None:
    assert keep_endings(tmp_path, 4711) == []


def test_threads_that_begin_at_once_make_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def slowly(directory: Path) -> Path:
        made.append(directory)
        time.sleep(0.05)
        return directory

    monkeypatch.setattr(endings, "Marks", slowly)
    monkeypatch.setenv(endings.DIRECTORY, str(tmp_path))
    endings._marks_of_process.cache_clear()
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: endings.marks_of_process(), range(4)))
    finally:
        endings._marks_of_process.cache_clear()
    assert made == [tmp_path]
