"""What all tests share: an application on a fresh, migrated database, people, inspections, and a clock to set.

`FIELDPOST_TEST_DATABASE=postgresql` runs the same suite on PostgreSQL (see tests/databases.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import upgrade

from app import create_app
from app.extensions import db
from app.ledger.record import Origin, Recorder, record
from app.models import FormFill, FormTemplate, Inspection, User

PASSWORD = "correct horse battery staple"

#: Cheap on purpose: what a real hash costs is tested in tests/auth.
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)

STRUCTURE = [
    {"name": "Location_row_1", "type": "text", "label_name": "Location"},
    {"name": "Riser_Photo", "type": "photo"},
    {"name": "Signature", "type": "signature"},
]


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


class World:
    """Makes users, inspections and form fills in the database, through the ledger as everybody must."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    def make(self, model: type, root: Any = None, **values: Any) -> Any:
        """A row of `model`; `root` is the id of its inspection."""

        def work(recorder: Recorder) -> Any:
            parent = recorder.session.get(Inspection, root) if root else None
            return recorder.create(model, values, parent)

        with self.app.app_context():
            row = record("test.make", Origin(door="cli"), work)
            db.session.expunge_all()
            return row

    def user(self, email: str = "tech@example.com", role: str = "technician", **values: Any) -> User:
        defaults = {"name": email.split("@")[0].title(), "active": True, "password_hash": PASSWORD_HASH}
        return self.make(User, **{**defaults, "email": email, "role": role, **values})

    def template(self, **values: Any) -> FormTemplate:
        return self.make(FormTemplate, **{"name": "Sprinkler", "form_structure": STRUCTURE, **values})

    def inspection(self, owner: User, assignee: User | None = None, **values: Any) -> Inspection:
        defaults = {"date": datetime(2024, 3, 20).date(), "owner_id": owner.id, "status": "pending"}
        return self.make(Inspection, **{**defaults, "assignee_id": assignee and assignee.id, **values})

    def form_fill(self, inspection: Inspection, template: FormTemplate | None = None, **values: Any) -> FormFill:
        template = template or self.template()
        return self.make(FormFill, inspection.id, **{"form_template_id": template.id, "data": {}, **values})

    def get(self, model: type, key: Any) -> Any:
        """The row as stored now, read in a context and session of its own; None if it is not there."""
        with self.app.app_context():
            row = db.session.get(model, key)
            if row is not None:
                db.session.expunge(row)
            return row

    def all(self, model: type) -> list[Any]:
        """All rows of a table, by id, read in a context of their own."""
        with self.app.app_context():
            rows = list(db.session.scalars(db.select(model).order_by(model.id)))  # type: ignore[attr-defined]
            db.session.expunge_all()
            return rows


@pytest.fixture
def world(app: Flask) -> World:
    return World(app)


SignIn = Callable[..., FlaskClient]


@pytest.fixture
def sign_in(app: Flask) -> SignIn:
    """`sign_in(user, device_id=None)` → a test client that sends the user's access token with every request."""

    def sign_in(user: User, device_id: str | None = None) -> FlaskClient:
        body = {"email": user.email, "password": PASSWORD}
        if device_id is not None:
            body["device_id"] = device_id
        client = app.test_client()
        answer = client.post("/api/v1/auth/login", json=body)
        assert answer.status_code == 200, answer.json
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {answer.json['access_token']}"
        return client

    return sign_in
