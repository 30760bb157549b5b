"""Watching code that does not end: it is interrupted, and a worker that cannot be interrupted is ended."""

from __future__ import annotations

import threading
import time
from _thread import LockType
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from app import policies
from app.core.host import watch
from app.core.host.watch import HandlerTimeout, Watch, watchdog, watched
from app.http.deadlines import deadlines
from app.models import FormFill
from app.plugin_api import SyncHandler, by_id, edit

HANDLER = SyncHandler(type="slow", schema=Mock, target=by_id(FormFill), policy=policies.change, apply=edit)


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> LockType:
    """A lock that nobody gets before the watch has tried in vain: nothing interrupts a thread that waits for it."""
    lock, usual, interrupts = threading.Lock(), watch._send, []

    def send(thread: int, error: type[BaseException] | None) -> None:
        usual(thread, error)
        interrupts.append(error)
        if interrupts == [HandlerTimeout] * 2:
            lock.release()

    monkeypatch.setattr(watch, "_send", send)
    lock.acquire()
    return lock


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes with which this worker would have been ended."""
    codes: list[int] = []
    monkeypatch.setattr("app.core.host.watch.os._exit", codes.append)
    monkeypatch.setattr("app.core.host.watch.logging.shutdown", lambda: None)
    monkeypatch.setattr(watchdog, "ends_worker", True)
    return codes


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_code_that_begins_late_in_a_batch_has_all_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 0.25, 0.75, 0.75, 100.0, 100.5, 100.75, 100.75])
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    found = Watch(1.0)
    left = []
    for _ in range(2):
        with found(HANDLER):
            left += [found.check(), found.check()]
    assert left == [0.75, 0.25, 0.5, 0.25]


def test_code_that_does_not_end_is_interrupted_soon_after_its_time() -> None:
    with watched(0.2) as found:
        with found(HANDLER):
            spin(0.05)
        started = time.monotonic()
        with pytest.raises(HandlerTimeout), found(HANDLER):
            spin(30)
        assert 0.2 <= time.monotonic() - started < 10
        # It is interrupted again, as often as it must be, and then given up.
        assert not found.has_given_up(HANDLER)
        for _ in range(watch.MOST_STRIKES - 1):
            with pytest.raises(HandlerTimeout), found(HANDLER):
                spin(30)
        assert found.has_given_up(HANDLER)


def test_a_worker_is_ended_that_is_not_interrupted_within_as_long_again(ended: list[int], stuck: LockType) -> None:
    with watched(0.05) as found, pytest.raises(HandlerTimeout), found(HANDLER):
        stuck.acquire()
    assert ended[:1] == [watch.EXIT_CODE]


def test_no_worker_is_ended_where_no_server_makes_a_new_one(
    ended: list[int], stuck: LockType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "ends_worker", False)
    with watched(0.05) as found, pytest.raises(HandlerTimeout), found(HANDLER):
        stuck.acquire()
    assert ended == []


def test_a_check_does_not_wait_for_code_that_is_just_ending() -> None:
    """One thread serves all deadlines of the process."""
    found = Watch(0.0)
    with found._lock:
        assert found.check() == watch.MOMENT


def test_batches_and_bodies_are_watched_by_one_thread() -> None:
    # Tests of other clocks may have left threads of theirs.
    others = [thread for thread in threading.enumerate() if thread.name == "deadlines"]
    with watched(600), deadlines.within(600, lambda: None):
        pass
    before = threading.active_count()
    with watched(600), watched(600), deadlines.within(600, lambda: None):
        assert threading.active_count() == before
    assert len({thread for thread in threading.enumerate() if thread.name == "deadlines"} - {*others}) <= 1
