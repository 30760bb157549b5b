"""Clients that other people have made, with the modules of docs/clients.md: no conflict with oneself, nobody
overwritten, nothing lost.

The situations are in `scenarios/situations.mjs`. Each client goes through them in one process of Node.js.
tus-js-client has situations of its own, in tests/outsider/test_resumable_uploads.py.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.support.node import NODE, run_scenario

SITUATIONS = (
    "a second edit before the answer",
    "lost answers",
    "a colleague's edit in between",
    "a colleague's edit of the same field",
    "deletion",
    "values that the server refuses",
    "a cursor that has expired",
    "a sign-in that expires in between",
)

#: Each a file in `scenarios/`.
CLIENTS = ("rxdb", "watermelondb", "workbox", "openapi-fetch")

Faults = dict[str, str]


@pytest.fixture(scope="module")
def go_through(server: dict[str, str], workshop: Path) -> Callable[[str], Faults]:
    """Situation -> what went wrong in it, for a client; empty where nothing did."""

    return cache(lambda client: run_scenario(workshop, client, server))


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_loses_nothing_and_overwrites_nobody(
    go_through: Callable[[str], Faults], client: str, situation: str
) -> None:
    faults = go_through(client)
    assert faults.keys() == set(SITUATIONS)
    assert not faults[situation], faults[situation]


def test_a_compiler_finds_wrong_items_with_the_types_made_of_our_document(
    server: dict[str, str], workshop: Path
) -> None:
    document = f"{server['FIELDPOST_URL']}/api/v1/openapi.json"
    told = in_node(workshop, "openapi-typescript/bin/cli.js", document, "-o", "modules/schema.d.ts")
    assert "⚠" not in told, told
    in_node(workshop, "typescript/bin/tsc", "--project", ".")


def in_node(workshop: Path, program: str, *arguments: str) -> str:
    """The output of a package's program, which must succeed."""
    command = [NODE, f"node_modules/{program}", *arguments]
    done = subprocess.run(command, cwd=workshop, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
