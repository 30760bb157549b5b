"""A ready application on a fresh, migrated database for each test."""

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
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a migrated, empty database."""
    directory = tmp_path_factory.mktemp("migrated")
    with create_app({"FIELDPOST_DATA_DIR": str(directory), "DATABASE_URL": ""}).app_context():
        upgrade()
        db.engine.dispose()
    return directory


@pytest.fixture
def app(migrated: Path, tmp_path: Path) -> Iterator[Flask]:
    shutil.copytree(migrated, tmp_path, dirs_exist_ok=True)
    app = create_app({"FIELDPOST_DATA_DIR": str(tmp_path), "DATABASE_URL": ""})
    yield app
    with app.app_context():
        db.engine.dispose()
