"""Devices against a real server whose workers are killed and whose connections are cut: `make chaos`.

python -m tests.exactly_once.chaos --database postgresql --clients 8 --batches 200
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from app import create_app
from app.clock import system_clock, to_wire
from app.core.database.engine import db
from app.models import User
from app.testing import World
from tests.conftest import PASSWORD
from tests.exactly_once.checker import FAULTS, check, check_devices
from tests.support.databases import DATABASES, SECRET_KEY, postgresql_database, settle, sqlite_file
from tests.support.device import Change, Device, Offline
from tests.support.lines import HttpLine, Witness
from tests.support.pictures import jpeg
from tests.support.servers import environment_of, start, stop

#: One connection in so many is cut once its request was sent.
CUT = 10

#: Seconds between two kills of all workers.
KILL_SECONDS = 2.0

#: How often a device tries to send what is left when the network is good again.
TRIES = 200


@dataclass
class Site:
    """What all work on."""

    user: User
    inspection: int
    template: int
    shared: int


class Technician:
    """Edits a form that all edit and one of their own, creates forms, photographs, and sends after each step."""

    def __init__(self, number: int, port: int, site: Site, alone: int) -> None:
        self.number = number
        self.site = site
        self.alone: list[Any] = [alone]
        self.cuts = 0
        self.unanswered = 0
        self.is_calm = True
        self._chance = random.Random(number)
        self.witness = Witness(HttpLine(port, self._cut))
        # A request that was cut may still be handled, even after the device was told a conflict and has gone on.
        self.device = Device(self.witness, decide=insist, wait=lambda _: time.sleep(0.1), clock=present_moment)
        self.device.sign_in(site.user.email, PASSWORD)
        self.device.pull()

    def work(self, steps: int) -> None:
        """On a bad network: each step is at least one batch."""
        self.is_calm = False
        for step in range(steps):
            self._change(f"{self.number} in {step}", step)
            try:
                self.device.push()
                if step % 10 == 0:
                    self.device.sync()
            except Offline:
                self.unanswered += 1
        self.is_calm = True

    def finish(self) -> None:
        """On a good network: send what is left, then fetch what the others did."""
        for _ in range(TRIES):
            try:
                self.device.sync()
            except Offline:
                time.sleep(0.1)
            else:
                if not self.device.store.queue:
                    return
        raise AssertionError(f"{len(self.device.store.queue)} changes could not be sent")

    def conflicts_alone(self) -> list[dict[str, Any]]:
        """Conflicts on rows that nobody else edits: there must be none."""
        mine = {self.device.store.made_here.get(each, each) for each in self.alone}
        return [each for each in self.witness.conflicts if each["type"] == "form_fill" and each["server_id"] in mine]

    def _change(self, value: str, step: int) -> None:
        """Values that nobody has written before."""
        device, site = self.device, self.site
        device.edit(self._chance.choice(self.alone), **{f"f{step % 3}": value})
        device.edit(site.shared, **{f"f{step % 5}": value})
        if step % 7 == 0:
            device.edit_inspection(site.inspection, notes=value)
        if step % 20 == 5:
            self.alone.append(device.create(site.inspection, site.template, a=value))
            device.photograph(self.alone[-1], "Riser_Photo", jpeg((8, 8), f"rgb({self.number},{step},0)"))

    def _cut(self) -> bool:
        is_cut = not self.is_calm and self._chance.randrange(CUT) == 0
        self.cuts += is_cut
        return is_cut


def present_moment() -> str:
    """The time that goes with each change."""
    return to_wire(system_clock())


def insist(change: Change, conflict: dict[str, Any]) -> dict[str, Any]:
    """The user decides every conflict for what was entered here."""
    return dict(conflict["local_data"])


def run(
    directory: Path,
    url: str,
    *,
    clients: int,
    batches: int,
    kill_seconds: float = KILL_SECONDS,
    kill_rounds: int | None = None,
) -> Counter[str]:
    """Let `clients` devices send `batches` batches each, check everything, and count what happened.

    Every `kill_seconds` all workers are killed, at most `kill_rounds` times.

    `directory`, `url`: where the server keeps its data, and a migrated database (empty: SQLite in `directory`).
    Raises `AssertionError` where something was lost, applied twice, or is not as it was sent.
    """
    settings = {"DATABASE_URL": url, "FIELDPOST_SECRET_KEY": SECRET_KEY, "FIELDPOST_LOGIN_RATE": "1000 per minute"}
    environment = environment_of(directory, WEB_CONCURRENCY="2", **settings)
    app = create_app(environment)
    world = World(app)
    user = world.user()
    inspection, template = world.inspection(user, user), world.template()
    forms = [world.form_fill(inspection, template, data={}).id for _ in range(clients + 1)]
    site = Site(user, inspection.id, template.id, forms.pop())
    kills: Counter[str] = Counter()
    with _server(environment) as master, ThreadPoolExecutor(clients) as pool:
        port = int(environment["PORT"])
        technicians = [Technician(each, port, site, forms[each]) for each in range(clients)]
        with _killing(master, port, kill_seconds, kill_rounds, kills):
            list(pool.map(lambda each: each.work(batches), technicians))
        for turn in ("send", "fetch"):
            list(pool.map(lambda each, _: each.finish(), technicians, [turn] * clients))
            # On PostgreSQL the feed waits for whoever else is writing in the same cluster.
            settle(app)
    counts = check(app, [each.device for each in technicians])
    check_devices([each.device for each in technicians])
    with app.app_context():
        db.engine.dispose()
    counts["batches"] = sum(len(each.witness.batches) for each in technicians)
    counts["connections cut"] = sum(each.cuts for each in technicians)
    counts["no answer"] = sum(each.unanswered for each in technicians)
    counts["false conflicts"] = sum(len(each.conflicts_alone()) for each in technicians)
    return counts + kills


def run_on(database: str, clients: int, batches: int) -> Counter[str]:
    """The same on a database that is made for it: `sqlite` or `postgresql`."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-chaos-") as name:
        directory = Path(name)
        with sqlite_file(directory) if database == "sqlite" else postgresql_database() as url:
            return run(directory, url, clients=clients, batches=batches)


@contextmanager
def _server(environment: Mapping[str, str]) -> Iterator[int]:
    """A running server; the process id of its master."""
    process = start(environment)
    try:
        yield process.pid
    finally:
        stop(process)


@contextmanager
def _killing(master: int, port: int, seconds: float, rounds: int | None, kills: Counter[str]) -> Iterator[None]:
    """Kill all workers every so many seconds while the block runs; gunicorn starts others."""
    end = threading.Event()

    def kill() -> None:
        for _ in count() if rounds is None else range(rounds):
            if end.wait(seconds):
                return
            # On a machine that is busy otherwise, workers killed before they serve would let nothing through at all.
            while not end.is_set() and not _answers(port):
                time.sleep(0.05)
            for child in Path(f"/proc/{master}/task/{master}/children").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)
                    kills["workers killed"] += 1

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def report(database: str, clients: int, seconds: float, counts: Mapping[str, int]) -> str:
    """What was done and what came of it, for people."""
    did = ("batches", "connections cut", "workers killed", "no answer")
    came = ("sent", "acknowledged", "refused", "once unknown", "unknown", "replayed", *FAULTS, "false conflicts")
    lines = [f"{database}: {clients} devices, {seconds:.0f} s", *(f"  {each}: {counts.get(each, 0)}" for each in did)]
    return "\n".join([*lines, "changes", *(f"  {each}: {counts.get(each, 0)}" for each in came)])


def main() -> None:
    """Read the command line, run, print the counts; exit with 1 where anything is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=DATABASES, action="append", help="default: both")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--batches", type=int, default=200)
    arguments = parser.parse_args()
    has_failed = False
    for database in arguments.database or DATABASES:
        started = time.monotonic()
        try:
            counts = run_on(database, arguments.clients, arguments.batches)
        except AssertionError as error:
            print(f"{database}: {error}", file=sys.stderr, flush=True)
            has_failed = True
            continue
        print(report(database, arguments.clients, time.monotonic() - started, counts), flush=True)
        has_failed |= any(counts[each] for each in (*FAULTS, "false conflicts"))
    sys.exit(has_failed)


if __name__ == "__main__":
    main()
