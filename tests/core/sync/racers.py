"""Devices at the same moment: as processes of their own on the one database, or step by step on two connections."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing.pool import Pool
from multiprocessing.synchronize import Barrier
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, event, text

from app import create_app
from app.core.database.engine import db
from app.core.database.transactions import WRITES
from tests.support.answers import json_of
from tests.support.forks import forking

#: How long a process may take to start, or a batch to be answered.
SECONDS = 60

#: So many race at most.
RACERS = 4


@cache
def racers() -> Pool:
    """The processes, started when the first race needs them: each imports the application once."""
    barriers = {count: forking.Barrier(count) for count in range(2, RACERS + 1)}
    pool = forking.Pool(RACERS, _take_place, (barriers,))
    atexit.register(pool.terminate)
    return pool


#: Where the processes of a race wait for each other, by how many they are.
_barriers: dict[int, Barrier] = {}


def _take_place(barriers: dict[int, Barrier]) -> None:
    _barriers.update(barriers)


def send(client: FlaskClient, items: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Send a batch as a device does: on 503, after a little while, again."""
    while True:
        answer = client.post("/api/v1/sync", json={"sync_items": items})
        if answer.status_code != 503:
            assert answer.status_code == 200, answer.text
            found: dict[str, list[dict[str, Any]]] = json_of(answer)["results"]
            return found


@contextmanager
def client_of(environment: Mapping[str, str], token: str, count: int) -> Iterator[FlaskClient]:
    """An application of this process, and a client with this token, at the moment when all `count` are ready."""
    app = create_app(environment)
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    _barriers[count].wait(SECONDS)
    yield client
    with app.app_context():
        db.engine.dispose()


def push_once(
    environment: Mapping[str, str], token: str, items: Sequence[Mapping[str, Any]], count: int
) -> dict[str, Any]:
    """Send one batch, at the same moment as the others."""
    with client_of(environment, token, count) as client:
        return send(client, items)


def increment(environment: Mapping[str, str], token: str, form_fill_id: int, name: str, times: int, count: int) -> int:
    """Add 1 to a field so many times; on conflict take the server's value and send anew. Returns the conflicts."""
    version, value, conflicts, done = "2024-01-01T00:00:00.000Z", 0, 0, 0
    with client_of(environment, token, count) as client:
        while done < times:
            # Two who set all fields to the same values would be no conflict.
            changes = {"n": value + 1, "by": f"{name}-{done}"}
            data = {"id": form_fill_id, "updated_at": version, "changes": changes}
            results = send(client, [{"type": "form_fill", "local_id": f"{name}-{done}-{conflicts}", "data": data}])
            if results["success"]:
                done += 1
                version, value = results["success"][0]["updated_at"], value + 1
            else:
                shown = results["conflicts"][0]["conflict_data"]
                version, value = shown["server_version"], shown["server_data"]["n"]
                conflicts += 1
    return conflicts


def together(work: Any, arguments: Sequence[Sequence[Any]]) -> list[Any]:
    """Run `work(*arguments, count)` in as many processes, all released at once; their results."""
    count = len(arguments)
    found = [racers().apply_async(work, (*each, count)) for each in arguments]
    return [each.get(SECONDS) for each in found]


def race(app: Flask, first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
    """Two calls on two connections: `first()` is stopped right before its COMMIT until `second()` waits for it.

    What both return. `AssertionError` where the second does not have to wait.
    """
    with app.app_context():
        engine = db.engine
    stop = _Stop()
    event.listen(engine, "commit", stop.before_commit)
    event.listen(engine, "set_connection_execution_options", stop.before_begin)
    try:
        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(stop.run, first)
            try:
                assert stop.reached.wait(SECONDS)
                assert not one.done(), f"the first wrote nothing: {one.result()}"
                other = pool.submit(second)
                _until_it_waits(engine, other, stop)
            finally:
                stop.released.set()
            return one.result(SECONDS), other.result(SECONDS)
    finally:
        event.remove(engine, "commit", stop.before_commit)
        event.remove(engine, "set_connection_execution_options", stop.before_begin)


def waiting_for_a_row(app: Flask, call: Callable[[], Any], then: Callable[[], Any]) -> tuple[Any, Any]:
    """What `call()` returns, and `then()`, which runs as soon as it waits for a row that somebody has locked."""
    with app.app_context():
        engine = db.engine
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(call)
        try:
            _until_somebody_waits(engine, waiting)
        finally:
            found = then()
        return waiting.result(SECONDS), found


class _Stop:
    """Stops one thread at the end of its unit of work, once."""

    def __init__(self) -> None:
        self.reached, self.released, self.begun = threading.Event(), threading.Event(), threading.Event()
        self._thread = 0

    def run(self, call: Callable[[], Any]) -> Any:
        """What the thread does that is to be stopped."""
        self._thread = threading.get_ident()
        try:
            return call()
        finally:
            self.reached.set()

    def before_commit(self, connection: Connection) -> None:
        """Called by every connection."""
        is_unit = connection.get_execution_options().get(WRITES)
        if is_unit and threading.get_ident() == self._thread and not self.reached.is_set():
            self.reached.set()
            assert self.released.wait(SECONDS)

    def before_begin(self, _connection: Connection, options: Mapping[str, Any]) -> None:
        """Called by every connection that is told what it is for, right before it waits for its turn on SQLite."""
        if options.get(WRITES) and threading.get_ident() != self._thread:
            self.begun.set()


def _until_it_waits(engine: Engine, call: Future[Any], stop: _Stop) -> None:
    if engine.dialect.name == "postgresql":
        _until_somebody_waits(engine, call)
    else:
        while not stop.begun.wait(0.05):
            assert not call.done(), f"it wrote nothing: {call.result()}"
        time.sleep(0.05)
    assert not call.done(), f"it did not have to wait: {call.result()}"


def _until_somebody_waits(engine: Engine, call: Future[Any]) -> None:
    """For a lock in this database."""
    deadline = time.monotonic() + SECONDS
    while not _somebody_waits(engine):
        assert not call.done(), f"it did not have to wait: {call.result()}"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _somebody_waits(engine: Engine) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with engine.connect() as connection:
        return bool(connection.scalar(text(waiting)))
