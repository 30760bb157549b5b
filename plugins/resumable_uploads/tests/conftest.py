"""An application with the plugin, on a migrated database: a SQLite file, or the database in `TEST_DATABASE_URL`.

All tests share it, because making one takes longer than any test. So each test has its own people and rows.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import count
from typing import Any

import pytest
from flask import Flask
from PIL import Image

# Its assertions are explained like a test's own. This must come before the import.
pytest.register_assert_rewrite("app.testing")

from app import create_app  # noqa: E402
from app.models import db  # noqa: E402
from app.testing import (  # noqa: E402
    World,
    sign_in,
    upgrade,
)

UPLOADS = "/api/v1/uploads"

numbers = count(1)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2024, 3, 15, 10, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def forward(self, **period: float) -> None:
        """`clock.forward(minutes=5)`."""
        self.time += timedelta(**period)


@pytest.fixture(scope="session")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[Flask]:
    variables = {
        "FIELDPOST_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "DATABASE_URL": os.environ.get("TEST_DATABASE_URL", ""),
        "FIELDPOST_SECRET_KEY": "for tests only, and long enough to be accepted",
        "FIELDPOST_LOG_LEVEL": "ERROR",
        "FIELDPOST_CORS_ORIGINS": "https://app.example.com",
        "FIELDPOST_LOGIN_RATE": "100000 per minute",
        "FIELDPOST_RESUMABLE_UPLOADS_LIFETIME_HOURS": "48",
        "FIELDPOST_RESUMABLE_UPLOADS_MOST_PENDING_BYTES": "21000000",
        "FIELDPOST_ACCESS_TOKEN_SECONDS": "100000000",
    }
    app = create_app(variables, clock)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    with app.app_context():
        upgrade()
    yield app
    with app.app_context():
        db.engine.dispose()


class Device:
    """A technician's device that speaks tus, and the form fill that the technician works on."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.world = World(app)
        self.user = self.world.user(f"technician{next(numbers)}@example.com")
        self.owner = self.world.user(f"owner{next(numbers)}@example.com", "user")
        self.inspection = self.world.inspection(self.owner, self.user)
        self.form_fill = self.world.form_fill(self.inspection)
        self.client = sign_in(app, self.user)

    def call(self, method: str, url: str, data: bytes = b"", **headers: Any) -> Any:
        """A request of tus; `Upload_Offset=3` is the header `Upload-Offset: 3`, and None leaves one out."""
        given = {"Tus-Resumable": "1.0.0", **{name.replace("_", "-"): value for name, value in headers.items()}}
        sent = {name: str(value) for name, value in given.items() if value is not None}
        return self.client.open(url, method=method, data=data, headers=sent)

    def create(self, size: int, data: bytes = b"", **more: Any) -> Any:
        """Announce an upload; `more` is metadata, None leaves some out."""
        headers = {"Content_Type": "application/offset+octet-stream"} if data else {}
        return self.call("POST", UPLOADS, data, Upload_Length=size, Upload_Metadata=self.metadata(**more), **headers)

    def metadata(self, **more: Any) -> str:
        values = {"form_fill_id": self.form_fill.id, "field_name": "Riser_Photo", "filename": "riser.jpg", **more}
        return ",".join(
            f"{name} {b64encode(str(each).encode()).decode()}" for name, each in values.items() if each is not None
        )

    def start(self, size: int, **more: Any) -> str:
        """The address of a new upload."""
        answer = self.create(size, **more)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["Location"])

    def add(self, url: str, offset: int, data: bytes, **more: Any) -> Any:
        """Send bytes."""
        headers = {"Content_Type": "application/offset+octet-stream", "Upload_Offset": offset, **more}
        return self.call("PATCH", url, data, **headers)

    def upload(self, data: bytes, **more: Any) -> Any:
        """A whole upload in two pieces; the last answer."""
        url, half = self.start(len(data), **more), len(data) // 2
        assert self.add(url, 0, data[:half]).status_code == 204
        answer = self.add(url, half, data[half:])
        assert answer.status_code == 204, answer.text
        return answer

    def offset(self, url: str) -> int:
        """How far the upload has come."""
        answer = self.call("HEAD", url)
        assert answer.status_code == 200
        return int(answer.headers["Upload-Offset"])

    def upload_photo(self, data: bytes, field: str = "Riser_Photo", **more: Any) -> Any:
        """The upload that is not resumable."""
        form = {"form_fill_id": str(self.form_fill.id), "field_name": field, **more}
        return self.client.post("/api/v1/sync/upload_photo", data={**form, "photo": (BytesIO(data), "riser.jpg")})


@pytest.fixture
def device(app: Flask) -> Device:
    return Device(app)


@pytest.fixture
def stranger(app: Flask) -> Device:
    return Device(app)


def photo(size: tuple[int, int] = (320, 240)) -> bytes:
    """A JPEG that no other test has."""
    out = BytesIO()
    number = next(numbers)
    image = Image.effect_noise(size, 64 + number % 64)
    image.putpixel((0, 0), number % 256)
    image.save(out, "JPEG", comment=str(number).encode())
    return out.getvalue()


def objects(app: Flask) -> set[str]:
    """The keys of all objects in the storage."""
    return {each.key for each in app.extensions["fieldpost.storage"].list()}
