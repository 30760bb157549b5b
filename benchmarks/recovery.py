"""Back to a moment before a mistake: PostgreSQL's recovery to a point in time, as docs/operating.md says it.

A PostgreSQL archives its log, and a base backup is taken. A device changes a form, time passes, somebody makes a
mistake, and the server is lost. A second PostgreSQL recovers from base backup and archive to the time in between, and
`fieldpost new-history` is run. Prints what the device finds there, and fails if it is not what the page says.

    python benchmarks/recovery.py
"""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from clusters import Cluster, clusters
from flask import Flask

from app import create_app
from app.core.database.engine import close_connections
from app.core.host.migrations import upgrade
from app.models import FormFill
from app.testing import World, push, sign_in

CHANGES = "/api/v1/sync/changes"


def wait_until(condition: Callable[[], object], message: str) -> None:
    """Wait for a minute at most."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise RuntimeError(message)


def ask(cluster: Cluster, query: str) -> Any:
    """The one value that the query gives."""
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


class Place:
    """Two PostgreSQLs, of which the second recovers what the first has archived."""

    def __init__(self, directory: Path, first: Cluster, second: Cluster) -> None:
        self._directory, self._key = directory, secrets.token_urlsafe(48)
        self.first, self.second = first, second
        self._archive = first.directory / "archive"

    def begin(self) -> None:
        """Start the first one with an archive, and take a base backup."""
        self.first.initialize()
        self._archive.mkdir(mode=0o777)
        self._archive.chmod(0o777)
        command = f"test ! -f {self._archive}/%f && cp %p {self._archive}/%f"
        self.first.start(archive_mode="on", archive_command=command)
        with self.app(self.first).app_context():
            upgrade()
        self.second.copy(self.first)

    def lose_first(self) -> None:
        """What was archived is all that is left of it."""
        file = ask(self.first, "SELECT pg_walfile_name(pg_switch_wal())")
        archived = "SELECT last_archived_wal FROM pg_stat_archiver"
        wait_until(lambda: (ask(self.first, archived) or "") >= file, "PostgreSQL does not archive its log.")
        self.first.kill()

    def recover(self, moment: str) -> None:
        """Start the second one from base backup and archive, as of this moment."""
        (self.second.data / "recovery.signal").touch()
        self.second.start(
            restore_command=f"cp {self._archive}/%f %p", recovery_target_time=moment, recovery_target_action="promote"
        )
        is_over = "SELECT NOT pg_is_in_recovery()"
        wait_until(lambda: ask(self.second, is_over), "PostgreSQL does not end its recovery.")

    def app(self, cluster: Cluster) -> Flask:
        """A Fieldpost on one of them."""
        settings = {"FIELDPOST_DATA_DIR": str(self._directory / "data"), "FIELDPOST_SECRET_KEY": self._key}
        return create_app({**settings, "DATABASE_URL": cluster.url, "FIELDPOST_LOG_LEVEL": "WARNING"})


def recovered(place: Place) -> dict[str, bool]:
    """Each sentence of the page about a recovery, and whether it is so."""
    app = place.app(place.first)
    world = World(app)
    tech = world.user()
    form_fill = world.form_fill(world.inspection(tech), data={"a": 0})
    device = sign_in(app, tech)
    before, after = (
        {"type": "form_fill", "local_id": name, "data": {"id": form_fill.id, "changes": {"a": value}}}
        for name, value in (("before", 1), ("after", 2))
    )
    push(device, before)
    moment = ask(place.first, "SELECT clock_timestamp()::text")
    push(device, after)
    cursor = (device.get(CHANGES).json or {})["data"]["cursor"]
    close_connections(app)
    place.lose_first()
    place.recover(moment)
    app = place.app(place.second)
    result = app.test_cli_runner().invoke(args=["new-history"])
    if result.exit_code:
        raise RuntimeError(result.output)
    returned = app.test_client()
    returned.environ_base.update(device.environ_base)
    found = {
        "What was done before that moment is there": World(app).get(FormFill, form_fill.id).data == {"a": 1},
        "The feed cursor of the device has expired": returned.get(f"{CHANGES}?cursor={cursor}").status_code == 410,
        "A retry from before is still recognised": "replayed" in push(returned, before)["success"][0],
        "A change from after that moment is applied if it is sent again": "replayed"
        not in push(returned, after)["success"][0],
    }
    close_connections(app)
    return found


def main() -> None:
    """Recover once; the exit status tells whether it is as the page says."""
    with (
        tempfile.TemporaryDirectory(prefix="fieldpost-recovery-") as directory,
        clusters(Path(directory), 2) as (first, second),
    ):
        place = Place(Path(directory), first, second)
        place.begin()
        found = recovered(place)
    for sentence, is_so in found.items():
        print(f"{sentence}: {'yes' if is_so else 'NO'}", flush=True)
    sys.exit(0 if all(found.values()) else 1)


if __name__ == "__main__":
    main()
