"""What a stranger sends takes little memory for its bytes, on every route, and most of it is not even read."""

from __future__ import annotations

import pytest
from flask import Flask

from benchmarks.hostile import MEMORY_AIM, SMALL, hostile_bodies, memory_of, routes

#: Bytes that a call or form before the sign-in may have.
LIMIT = 8 * 1024

#: Bytes of memory that two requests of one kind may be apart.
NOISE = 2 * 1024

#: The most costly requests for routes that read no body before the sign-in.
COSTLY = ("arguments in the query", "fields of a form", "megabytes")


@pytest.mark.database("sqlite")
def test_no_route_takes_much_memory_or_reads_much_for_a_stranger(app: Flask) -> None:
    small, large, faults = hostile_bodies(SMALL), hostile_bodies(LIMIT), []
    for method, address, is_open in routes(app):
        reads = is_open and method == "POST"
        for name in large if reads else COSTLY:
            received, memory = memory_of(app, method, address, large[name])
            if memory > MEMORY_AIM * received:
                # Any request takes something, and the first one that is refused in a way makes what all others use.
                memory = memory_of(app, method, address, large[name])[1]
                memory -= memory_of(app, method, address, small[name])[1]
            if memory > MEMORY_AIM * received + NOISE or received - large[name].head > reads * LIMIT + 1:
                faults.append(f"{method} {address}, {name}: of {received} bytes, {memory}")
    assert not faults, "\n".join(faults)
