"""A ready application that all tests share, on a fresh, migrated database for each."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

# Explained like a test's own assertions; to be said before it is imported.
pytest.register_assert_rewrite("app.testing")

from app import create_app  # noqa: E402
from app.models import db  # noqa: E402
from app.testing import upgrade  # noqa: E402


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The application's data directory."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def migrated_app(directory: Path) -> Flask:
    """The application with a migrated, empty database. Making one takes longer than most tests."""
    app = create_app({"FIELDPOST_DATA_DIR": str(directory), "DATABASE_URL": ""})
    with app.app_context():
        upgrade()
        db.engine.dispose()
    shutil.copytree(directory, f"{directory}-migrated")
    return app


@pytest.fixture
def app(migrated_app: Flask, directory: Path) -> Iterator[Flask]:
    yield migrated_app
    with migrated_app.app_context():
        db.engine.dispose()
    shutil.rmtree(directory)
    shutil.copytree(f"{directory}-migrated", directory)
