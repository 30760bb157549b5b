"""A short run of `make chaos` on each database."""

from __future__ import annotations

from pathlib import Path

from tests.exactly_once.chaos import run
from tests.exactly_once.checker import FAULTS


def test_nothing_is_lost_or_applied_twice_while_workers_are_killed(tmp_path: Path, database: str) -> None:
    counts = run(tmp_path, database, clients=4, batches=20, kill_seconds=0.3, kill_rounds=2)
    assert counts["batches"] >= 80
    assert counts["acknowledged"] >= 80
    assert counts["replayed"] > 0
    assert counts["once unknown"] > 0
    assert counts["workers killed"] > 0
    assert {each: counts[each] for each in (*FAULTS, "unknown", "false conflicts") if counts[each]} == {}
