"""Calls when a time is over: made in time, in any order, again where they ask for it, never late, and by one thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from app.http.deadlines import Deadlines


def test_a_block_that_takes_too_long_is_told_while_it_runs() -> None:
    called = threading.Event()
    with Deadlines().within(0.05, called.set):
        assert called.wait(10)


def test_a_block_that_ended_in_time_is_not_called() -> None:
    deadlines, calls = Deadlines(), []
    with deadlines.within(0.1, lambda: calls.append("late")):
        pass
    with deadlines.within(0.2, lambda: calls.append("in time")):
        time.sleep(0.4)
    assert calls == ["in time"]


def test_one_that_is_over_earlier_does_not_wait_for_an_older_one() -> None:
    deadlines, called = Deadlines(), threading.Event()
    with deadlines.within(600, lambda: None):
        time.sleep(0.05)  # until its thread sleeps
        with deadlines.within(0.05, called.set):
            assert called.wait(10)


def test_it_goes_on_after_it_had_nothing_to_wait_for() -> None:
    deadlines = Deadlines()
    for _ in range(3):
        called = threading.Event()
        with deadlines.within(0.02, called.set):
            assert called.wait(10)
        time.sleep(0.05)


def test_a_call_can_ask_to_be_made_again_until_the_block_ends() -> None:
    calls: list[float] = []
    thrice = threading.Event()

    def call() -> float:
        calls.append(time.monotonic())
        if len(calls) == 3:
            thrice.set()
        return 0.05

    with Deadlines().within(0.05, call):
        assert thrice.wait(10)
    assert min(later - earlier for earlier, later in pairwise(calls)) >= 0.05
    count = len(calls)
    time.sleep(0.2)
    assert len(calls) == count


def test_a_call_that_fails_takes_no_later_one_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: failures.append(args.exc_type))
    deadlines, called = Deadlines(), threading.Event()

    def fail() -> float:
        raise ZeroDivisionError

    with deadlines.within(0.02, fail):
        wait_until(lambda: failures == [ZeroDivisionError])
        with deadlines.within(0.02, called.set):
            assert called.wait(10)
    assert failures == [ZeroDivisionError]


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_there_is_one_thread_however_many_wait() -> None:
    deadlines = Deadlines()
    before = threading.active_count()
    for _ in range(100):
        with deadlines.within(600, lambda: None), deadlines.within(600, lambda: None):
            assert threading.active_count() <= before + 1
