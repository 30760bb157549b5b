"""Servers for browsers to visit: a real gunicorn, and its database at hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from flask import Flask
from sqlalchemy import update

from app import create_app
from app.clock import now
from app.core.database.engine import db
from app.core.ledger.unit import unit_of_work
from app.models import SignIn, User
from app.testing import World
from tests.support.databases import SECRET_KEY
from tests.support.servers import ROOT, environment_of, running


@dataclass(frozen=True)
class Site:
    """A server, and an application in this process on the same database."""

    address: str
    app: Flask
    world: World

    def user(self, role: str = "technician", **values: str) -> User:
        """A new user who can sign in with `PASSWORD`."""
        return self.world.user(**{"email": f"{uuid4()}@example.com", "role": role, "name": "Ada", **values})

    def leave_unused(self, user: User, **period: float) -> None:
        """Let all the user's browsers have been used last before this period: `minutes=5`."""
        with self.app.app_context():
            moment = now() - timedelta(**period)
            statement = update(SignIn).where(SignIn.user_id == user.id).values(last_used_at=moment)
            unit_of_work(lambda _: db.session.execute(statement))


def found_example(directory: Path) -> Path:
    """The complete example in this directory, beside metadata by which a server finds it, as if it were installed."""
    source = shutil.copytree(ROOT / "examples" / "equipment", directory / "source")
    command = [sys.executable, "-c", "import setuptools; setuptools.setup()", "--quiet", "egg_info"]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return source


@contextmanager
def site_in(directory: Path, **more: str) -> Iterator[Site]:
    """A server with demo data, on the migrated SQLite file in `directory`, for as long as the block lasts."""
    settings = {"DATABASE_URL": "", "FIELDPOST_SECRET_KEY": SECRET_KEY, **more}
    environment = environment_of(directory, **settings)
    app = create_app({"FIELDPOST_DATA_DIR": str(directory), **settings})
    demo = app.test_cli_runner().invoke(args=["demo"])
    assert demo.exit_code == 0, demo.output
    with running(environment) as address:
        yield Site(address, app, World(app))
    with app.app_context():
        db.engine.dispose()
