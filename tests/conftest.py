"""What all tests share: an application on a fresh, migrated database, people, inspections, and a clock to set.

`FIELDPOST_TEST_DATABASE=postgresql` runs the same suite on PostgreSQL (see tests/databases.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import upgrade

from app import create_app
from app.extensions import db

# Explained like a test's own assertions; to be said before it is imported.
pytest.register_assert_rewrite("app.testing")

from app import testing  # noqa: E402
from app.testing import PASSWORD, PASSWORD_HASH, STRUCTURE, World  # noqa: E402

__all__ = ["PASSWORD", "PASSWORD_HASH", "STRUCTURE", "SettableClock", "SignIn", "World"]


@pytest.fixture(autouse=True)
def _push_request_context() -> None:
    """Replaces pytest-flask's fixture of this name.

    It would push one context around the whole test, in which a request shares the test's session, so that a
    forgotten commit passes (trap 18).
    """


class SettableClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2024, 3, 15, 10, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def forward(self, **period: float) -> None:
        """`clock.forward(minutes=5)`; negative values go back."""
        self.time += timedelta(**period)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file; each test gets a copy, which is quicker than migrating again."""
    directory = tmp_path_factory.mktemp("migrated")
    app = create_app({"FIELDPOST_DATA_DIR": str(directory), "DATABASE_URL": ""})
    with app.app_context():
        upgrade()
        db.session.remove()
        db.engine.dispose()
    return directory / "fieldpost.sqlite3"


@pytest.fixture
def environment(tmp_path: Path, migrated_sqlite: Path) -> dict[str, str]:
    """The environment variables that the application of this test runs with; a test may add to them."""
    shutil.copy(migrated_sqlite, tmp_path / "fieldpost.sqlite3")
    return {"FIELDPOST_DATA_DIR": str(tmp_path), "DATABASE_URL": "", "FIELDPOST_LOG_LEVEL": "WARNING"}


@pytest.fixture
def app(environment: Mapping[str, str], clock: SettableClock) -> Iterator[Flask]:
    app = create_app(environment, clock)
    app.testing = True
    # As in production: an unexpected exception becomes our JSON error and does not reach the test.
    app.config["PROPAGATE_EXCEPTIONS"] = False
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def world(app: Flask) -> World:
    return World(app)


SignIn = Callable[..., FlaskClient]


@pytest.fixture
def sign_in(app: Flask) -> SignIn:
    """`sign_in(user, device_id=None)` → a test client that sends the user's access token with every request."""

    return partial(testing.sign_in, app)
