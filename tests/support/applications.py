"""Applications for tests, lent from one test to the next.

Making one takes longer than most tests, and so does the first use of each statement, which SQLAlchemy compiles once an
engine. An application is therefore used again by tests with the same settings: with the test's own data directory,
database, clock, storage and counters of failed sign-ins, and with no connection left from before. One that a test has
changed in any other way is not used again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

import psycopg
from flask import Flask
from sqlalchemy import Engine, QueuePool, event, make_url

from app import create_app
from app.accounts.throttle import LIMITER
from app.attachments.storage import open_storage
from app.clock import Clock
from app.config import load_settings, names_of_settings
from app.core.database.engine import db
from app.http.logs import configure_logging
from tests.support.databases import keep_connection, take_connection

#: Settings in which applications may differ and still be lent: each test has its own.
OWN = {"FIELDPOST_DATA_DIR", "DATABASE_URL"}

#: Parts of an application that may change: `begin` renews them, Flask makes them when they are first needed, or
#: pytest-flask replaces them for the time of a test.
RENEWED = {"extensions", "config", "_got_first_request", "jinja_env", "jinja_loader", "response_class"}

#: How many applications wait for the next test with their settings.
MOST = 4


class Shared:
    """An application that is lent from test to test."""

    def __init__(self, environment: Mapping[str, str], clock: Clock) -> None:
        self.app = create_app(environment, clock)
        self.app.testing = True
        # As in production: an unexpected exception becomes our JSON error and does not reach the test.
        self.app.config["PROPAGATE_EXCEPTIONS"] = False
        with self.app.app_context():
            self.engine: Engine = db.engine
        self._parts_of_address = self.engine.dialect.create_connect_args(self.engine.url)[1].keys()
        event.listen(self.engine, "do_connect", self._aim)
        self._extensions = {name: _copy(value) for name, value in self.app.extensions.items()}
        self._config = dict(self.app.config)
        self._parts = self._present_parts()

    def begin(self, environment: Mapping[str, str], clock: Clock) -> None:
        """Let the application stand on the data directory and the database of another test."""
        settings = load_settings({**os.environ, **environment})
        configure_logging(settings)
        self.app.extensions.clear()
        self.app.extensions.update({name: _copy(value) for name, value in self._extensions.items()})
        self.app.extensions |= {"fieldpost.settings": settings, "fieldpost.clock": clock}
        self.app.extensions["fieldpost.storage"] = open_storage(settings)
        self.app.extensions[LIMITER].storage.reset()
        self.app.config.clear()
        self.app.config.update(self._config)
        self.app.config.update(SQLALCHEMY_DATABASE_URI=settings.database_url, JWT_SECRET_KEY=settings.secret_key)
        self.engine.url = make_url(settings.database_url)
        # A test may still register what it likes, as with a new application.
        self.app._got_first_request = False

    def end(self) -> None:
        """Close the connections, except one to PostgreSQL."""
        pool = self.engine.pool
        if self.engine.dialect.name == "postgresql" and isinstance(pool, QueuePool) and pool.checkedin():
            connection = self.engine.raw_connection()
            connection.detach()
            keep_connection(cast("psycopg.Connection[Any]", connection.dbapi_connection))
        with self.app.app_context():
            db.engine.dispose()

    @property
    def is_untouched(self) -> bool:
        """Whether it is as it was made, apart from the parts that each test gets anew."""
        return bool(self._parts == self._present_parts())

    def _present_parts(self) -> Any:
        parts = {name: value for name, value in vars(self.app).items() if name not in RENEWED}
        parts |= {"rules": list(self.app.url_map.iter_rules()), "commands": self.app.cli.commands}
        dispatch = self.engine.dispatch
        parts["listeners"] = {str(name): list(getattr(dispatch, str(name))) for name in dispatch._event_names}
        return _without_empty(parts)

    def _aim(self, dialect: Any, _record: Any, arguments: list[Any], parameters: dict[str, Any]) -> Any:
        """Connect to the present database, not to the one that the engine was made for."""
        present, options = dialect.create_connect_args(self.engine.url)
        arguments[:] = present
        for name in self._parts_of_address:
            parameters.pop(name, None)
        parameters.update(options)
        return take_connection(parameters) if dialect.name == "postgresql" else None


#: Settings -> the application that waits for the next test with them.
_waiting: dict[frozenset[tuple[str, str]], Shared] = {}


@contextmanager
def lent(environment: Mapping[str, str], clock: Clock) -> Iterator[Flask]:
    """An application with these settings and this clock, for one test."""
    key = _key(environment)
    shared = _waiting.pop(key, None) or Shared(environment, clock)
    shared.begin(environment, clock)
    try:
        yield shared.app
    finally:
        shared.end()
        if shared.is_untouched:
            _waiting[key] = shared
            if len(_waiting) > MOST:
                del _waiting[next(iter(_waiting))]


def _key(environment: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """All settings that decide how an application is made."""
    names = {*names_of_settings()}
    inherited = {name: value for name, value in os.environ.items() if name in names or name.startswith("FIELDPOST_")}
    settings = {**inherited, **environment}
    kind = make_url(settings["DATABASE_URL"] or "sqlite://").drivername
    return frozenset({name: value for name, value in settings.items() if name not in OWN}.items() | {("kind", kind)})


def _copy(value: Any) -> Any:
    """The value with copies of all containers in it; everything in them that is no container stays the same object."""
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_copy(part) for part in value]
    if is_dataclass(value) and not isinstance(value, type) and not _is_frozen(value):
        return replace(value, **{each.name: _copy(getattr(value, each.name)) for each in fields(value)})
    return value


def _without_empty(value: Any) -> Any:
    """A copy of the containers in the value, without those that are empty: reading a `defaultdict` leaves some."""
    if isinstance(value, dict):
        parts = {key: _without_empty(part) for key, part in value.items()}
        return {key: part for key, part in parts.items() if part not in ({}, [])}
    if isinstance(value, list):
        return [_without_empty(part) for part in value]
    return value


def _is_frozen(value: Any) -> bool:
    return bool(value.__dataclass_params__.frozen)
