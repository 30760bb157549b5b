"""People at work on an inspection: signing in, pushing batches, and counting the statements that they take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from app.accounts.tokens import start_sign_in
from app.config import API_PREFIX
from app.core.database.engine import db
from app.core.values import JsonObject
from app.models import Inspection, User
from app.testing.world import World


def sign_in(app: Flask, user: User, device_id: str | None = None) -> FlaskClient:
    """A test client that sends an access token of the user with every request, without asking for their password."""
    with app.app_context():
        # None if the user has been changed since the test has read the row.
        started = start_sign_in(user, device_id) or start_sign_in(db.session.get_one(User, user.id), device_id)
    assert started is not None, f"{user.email} may not sign in"
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {started['access_token']}"
    return client


def push(client: FlaskClient, *items: Any) -> dict[str, list[JsonObject]]:
    """Send one batch, and return the `results` of its answer: the lists `success`, `errors` and `conflicts`."""
    # The standard library's JSON also writes texts that the server must refuse, such as lone surrogates.
    body = json.dumps({"sync_items": items})
    answer = client.post(f"{API_PREFIX}/sync", data=body, content_type="application/json")
    assert answer.status_code == 200, answer.text
    results: dict[str, list[JsonObject]] = answer.json["results"]  # type: ignore[index]
    assert sum(map(len, results.values())) == len(items), "each item has one entry"
    return results


@contextmanager
def statements_of(app: Flask) -> Iterator[list[str]]:
    """The SQL statements that the application sends while the block lasts."""
    with app.app_context():
        engine = db.engine
    statements: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", listen)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", listen)


class Scene:
    """An inspection with an owner and an assigned technician, an administrator, and two people who may not see it."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.world = World(app)
        self._clients: dict[str, FlaskClient] = {}
        self._users: dict[str, User] = {}

    def user(self, who: str) -> User:
        """The user called `admin`, `owner`, `technician`, `unassigned` (a technician) or `stranger`."""
        if who not in self._users:
            self._users[who] = self._new(who)
        return self._users[who]

    def client(self, who: str) -> FlaskClient:
        """A client that this user has signed in with."""
        if who not in self._clients:
            self._clients[who] = sign_in(self.app, self.user(who))
        return self._clients[who]

    @cached_property
    def inspection(self) -> Inspection:
        """The inspection that the handler's targets stand below."""
        return self.another_inspection()

    def another_inspection(self) -> Inspection:
        """One more inspection of the same owner and technician."""

        def work() -> tuple[User, User, Inspection]:
            owner, technician = (self._users.get(who) or self._new(who) for who in ("owner", "technician"))
            return owner, technician, self.world.inspection(owner, technician)

        self._users["owner"], self._users["technician"], inspection = self.world.together(work)
        return inspection

    def _new(self, who: str) -> User:
        role = {"admin": "admin", "technician": "technician", "unassigned": "technician"}.get(who, "user")
        return self.world.user(f"{who}@example.com", role)
