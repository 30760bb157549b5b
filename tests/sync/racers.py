"""Devices as processes of their own, each with an application of its own on the one database."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from multiprocessing.synchronize import Barrier
from typing import Any

from flask.testing import FlaskClient

from app import create_app
from app.extensions import db

#: How long a process may take to start, or a batch to be answered.
SECONDS = 60

#: The same interpreter state for every process, whatever the test's own has open.
spawning = multiprocessing.get_context("spawn")


def send(client: FlaskClient, items: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Send a batch as a device does: on 503, after a little while, again."""
    while True:
        answer = client.post("/api/v1/sync", json={"sync_items": items})
        if answer.status_code != 503:
            assert answer.status_code == 200, answer.text
            found: dict[str, list[dict[str, Any]]] = answer.json["results"]  # type: ignore[index]
            return found


def client_of(environment: Mapping[str, str], token: str) -> FlaskClient:
    """An application of this process, and a client with this token."""
    client = create_app(environment).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def push_once(
    environment: Mapping[str, str], token: str, items: Sequence[Mapping[str, Any]], barrier: Barrier
) -> dict[str, Any]:
    """Send one batch, at the same moment as the others."""
    client = client_of(environment, token)
    barrier.wait(SECONDS)
    return send(client, items)


def increment(
    environment: Mapping[str, str], token: str, form_fill_id: int, name: str, times: int, barrier: Barrier
) -> int:
    """Add 1 to a field so many times; on conflict take the server's value and send anew. Returns the conflicts."""
    client = client_of(environment, token)
    barrier.wait(SECONDS)
    version, value, conflicts, done = "2024-01-01T00:00:00.000Z", 0, 0, 0
    while done < times:
        data = {"id": form_fill_id, "updated_at": version, "changes": {"n": value + 1}}
        results = send(client, [{"type": "form_fill", "local_id": f"{name}-{done}-{conflicts}", "data": data}])
        if results["success"]:
            done += 1
            version, value = results["success"][0]["updated_at"], value + 1
        else:
            shown = results["conflicts"][0]["conflict_data"]
            version, value = shown["server_version"], shown["server_data"]["n"]
            conflicts += 1
    with client.application.app_context():
        db.engine.dispose()
    return conflicts


def together(work: Any, arguments: Sequence[Sequence[Any]]) -> list[Any]:
    """Run `work(*arguments, barrier)` in as many processes, all released at once; their results."""
    with spawning.Manager() as manager, spawning.Pool(len(arguments)) as pool:
        barrier = manager.Barrier(len(arguments))
        found = [pool.apply_async(work, (*each, barrier)) for each in arguments]
        return [each.get(SECONDS) for each in found]
