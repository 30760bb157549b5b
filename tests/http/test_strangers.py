"""What a stranger sends takes little memory for its bytes, on every route, and most of it is not even read."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import pytest
from flask import Flask

from tests.support.servers import ROOT

#: Bytes that a call or form before the sign-in may have.
LIMIT = 8 * 1024

#: Bytes of memory that two requests of one kind may be apart.
NOISE = 2 * 1024

#: The most costly requests for routes that need no body, or no stranger's.
COSTLY = ("arguments in the query", "fields of a form", "megabytes")


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark that also measures the time."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("hostile")


@pytest.mark.database("sqlite")
def test_no_route_takes_much_memory_or_reads_much_for_a_stranger(app: Flask, hostile: ModuleType) -> None:
    small, large, faults = hostile.hostile_bodies(hostile.SMALL), hostile.hostile_bodies(LIMIT), []
    for method, address, is_open in hostile.routes(app):
        for name in large if is_open and method == "POST" else COSTLY:
            received, memory = hostile.memory_of(app, method, address, large[name])
            if memory > hostile.MEMORY_AIM * received:
                # Any request takes something, and the first one that is refused in a way makes what all others use.
                memory = hostile.memory_of(app, method, address, large[name])[1]
                memory -= hostile.memory_of(app, method, address, small[name])[1]
            read = received - large[name].head
            if memory > hostile.MEMORY_AIM * received + NOISE or read > is_open * (LIMIT + 1):
                faults.append(f"{method} {address}, {name}: {read} bytes are read, {memory} taken for {received}")
    assert not faults, "\n".join(faults)
