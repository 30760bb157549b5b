"""The place at which the state machines begin: made once, and copied for each example."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from app import create_app
from app.core.database.engine import db
from app.models import User
from app.testing import World, sign_in
from tests.conftest import PASSWORD, SettableClock
from tests.support.databases import migrated_file
from tests.support.device import Device
from tests.support.lines import Line

DEVICES = 3

#: Forms that one device each edits alone.
FORMS = 4

PHONE, TABLET = "0f5d2b5e-7c1a-4d7e-9b1f-0a4c3e2d1b00", "0f5d2b5e-7c1a-4d7e-9b1f-0a4c3e2d1b01"


class Site:
    """Three devices of two technicians, one inspection, a form that all edit and one that each edits alone.

    Made once: an example begins with a copy of the database and of what the devices hold.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="fieldpost-site-"))
        atexit.register(shutil.rmtree, self.directory, ignore_errors=True)
        shutil.copy(migrated_file(), self.database)
        self.clock = SettableClock()
        environment = {"FIELDPOST_DATA_DIR": str(self.directory), "DATABASE_URL": "", "FIELDPOST_LOG_LEVEL": "ERROR"}
        self.app = create_app({**environment, "FIELDPOST_LOGIN_RATE": "1000 per minute"}, self.clock)
        world = World(self.app)
        owner, tech = world.user("owner@example.com", "technician"), world.user("tech@example.com")
        self.inspection, self.template = world.inspection(owner, tech), world.template()
        self.owner, self.tech = owner, tech
        self.office = sign_in(self.app, world.user("office@example.com", "admin"))
        self.shared = world.form_fill(self.inspection, self.template, data={}).id
        self.alone = [world.form_fill(self.inspection, self.template, data={}).id for _ in range(FORMS)]
        self.stores = [self._store(owner if number == 2 else tech) for number in range(DEVICES)]
        self.clients = [sign_in(self.app, who, device_id) for who, device_id in self.unruly]
        self._close()
        shutil.copy(self.database, self.directory / "beginning")

    @property
    def database(self) -> Path:
        return self.directory / "fieldpost.sqlite3"

    @property
    def unruly(self) -> list[tuple[User, str | None]]:
        """Clients of another kind, each with its user and device: two phones of the technician, the first of which the
        owner uses too, and one that names no device."""
        return [(self.tech, PHONE), (self.tech, TABLET), (self.owner, PHONE), (self.tech, None)]

    def begin(self) -> None:
        """As if nothing had happened yet."""
        self._close()
        shutil.copy(self.directory / "beginning", self.database)
        shutil.rmtree(self.directory / "attachments", ignore_errors=True)
        self.clock.time = SettableClock().time

    def _store(self, user: User) -> str:
        device = Device(Line(self.app))
        device.sign_in(user.email, PASSWORD)
        device.pull()
        return device.store.dump()

    def _close(self) -> None:
        with self.app.app_context():
            db.session.remove()
            db.engine.dispose()


site = cache(Site)
