"""What a device's day costs the server: a technician's ten hours with all their habits, played without the pauses.

At each of 40 visits a device refreshes its token, sends a batch of changes and looks at the feed, which brings these
changes back; half an hour later it looks again, and nothing is new. In between it takes photos, downloads packages and
asks for the status. Prints the processor time of server and database for each kind of call, in both databases, then
all that a device and day take, how many devices that makes for each core, and the formula of docs/operating.md.

    python benchmarks/device_day.py                        both databases
    python benchmarks/device_day.py --database sqlite      one of them
    python benchmarks/device_day.py --share 0.1            a tenth of the day: quick, and coarse
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import IO

import sqlalchemy
from devices import Device, devices
from photos import MEGABYTE, distinct, jpeg, size_of
from processes import cpu_seconds
from server import Server, running_postgresql, running_server
from sqlalchemy import text

DATABASES = ("postgresql", "sqlite")

#: The kinds of calls of a day, and how often each comes.
BATCH, REFRESH, ECHO, QUIET = "batch of 5", "refresh", "look that brings them", "look, nothing new"
PHOTO, PACKAGE, STATUS = "photo of 2 MB", "package of 20 forms", "status"
DAY = {REFRESH: 40, BATCH: 40, ECHO: 40, QUIET: 40, PHOTO: 10, PACKAGE: 2, STATUS: 10}
CHANGES, FORMS = 5, 20

#: Measured besides, so that the formula can tell a change from its batch.
LARGE_BATCH, LARGE = "batch of 100", 100

#: The length of the day in seconds, and how many times the mean its busiest time is.
DAY_SECONDS, PEAK = 10 * 3600, 5

LEDGER = "SELECT (SELECT count(*) FROM ledger_operations) + (SELECT count(*) FROM ledger_entries)"
SIZE = {
    "postgresql": "SELECT pg_database_size(current_database())",
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
}


@dataclass(frozen=True, kw_only=True)
class Grown:
    """All that grows on the server in a day."""

    #: Bytes of the bodies on the line, of the log and of the database, and rows of the ledger.
    line: int
    log: int
    database: int
    ledger: int


@dataclass(kw_only=True)
class Played:
    """What all devices' calls have taken, by kind."""

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)

    def milliseconds(self, kind: str) -> float:
        """Processor time of one call of this kind."""
        return self.seconds[kind] / self.calls[kind] * 1000

    def day(self) -> float:
        """Processor seconds of a device and day."""
        return sum(count * self.milliseconds(kind) for kind, count in DAY.items()) / 1000


class Caller:
    """A device that makes the calls of a day, by their kinds."""

    def __init__(self, device: Device, photo: bytes) -> None:
        self._device = device
        self._ticks = 0
        self._do: dict[str, Callable[[], object]] = {
            REFRESH: device.client.refresh,
            BATCH: lambda: self._push(CHANGES),
            LARGE_BATCH: lambda: self._push(LARGE),
            ECHO: device.look,
            QUIET: device.look,
            PHOTO: lambda: device.upload(distinct(photo), f"Photo_{self._ticks}"),
            PACKAGE: device.package,
            STATUS: device.status,
        }

    def call(self, kind: str) -> None:
        """One call."""
        self._ticks += 1
        self._do[kind]()

    def _push(self, count: int) -> None:
        ids = self._device.ids
        changed = [ids[(self._ticks * count + index) % len(ids)] for index in range(count)]
        if self._device.push(changed, self._ticks):
            raise RuntimeError("A change was not applied.")


def calls_of(day: Mapping[str, int], share: float) -> Iterator[str]:
    """The kinds of calls of this share of a day in their order: visit by visit, each kind as often as it is due."""
    most = max(day.values())
    due, made = dict.fromkeys(day, 0.0), set()
    for _ in range(max(1, round(most * share))):
        for kind, count in day.items():
            due[kind] += count / most
            # What comes less often than the visits does so at least once.
            if due[kind] >= 1 or kind not in made:
                due[kind] -= 1
                made.add(kind)
                yield kind


class Player:
    """Lets all devices make their calls, kind by kind, so that each kind's processor time can be told."""

    def __init__(self, clients: Sequence[Device], roots: Sequence[int], photo: bytes) -> None:
        self._callers = [Caller(device, photo) for device in clients]
        self._roots = roots
        self.played = Played()

    def play(self, share: float) -> None:
        """This share of the day."""
        for kind in calls_of(DAY, share):
            self.run(kind)

    def run(self, kind: str) -> None:
        """One call of each device."""
        before = cpu_seconds(self._roots)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda caller: caller.call(kind), self._callers))
        spent, played = cpu_seconds(self._roots) - before, self.played
        played.seconds[kind] = played.seconds.get(kind, 0.0) + spent
        played.calls[kind] = played.calls.get(kind, 0) + len(self._callers)


def measure(database: str, count: int, share: float, photo: bytes) -> tuple[Played, Grown]:
    """The day of so many devices, and what has grown by it for each."""
    with (
        running_postgresql() if database == "postgresql" else nullcontext() as postgresql,
        tempfile.TemporaryFile() as log,
        running_server(postgresql=postgresql, log=log, FIELDPOST_LOG_LEVEL="INFO") as server,
    ):
        roots = [server.process_id, *([postgresql.process_id] if postgresql else [])]
        clients = devices(server, count, records=FORMS)
        player = Player(clients, roots, photo)
        for kind in (*DAY, LARGE_BATCH):
            player.run(kind)
            player.run(kind)
        player.played = Played()
        before = _grown(server, database, clients, log)
        player.play(share)
        after, seen = _grown(server, database, clients, log), share * count
        for _ in range(max(1, round(10 * share))):
            player.run(LARGE_BATCH)
        return player.played, Grown(**{name: round((after[name] - before[name]) / seen) for name in after})


def _grown(server: Server, database: str, clients: Sequence[Device], log: IO[bytes]) -> dict[str, int]:
    engine = sqlalchemy.create_engine(server.database_url)
    with engine.connect() as connection:
        ledger, size = (connection.scalar(text(query)) for query in (LEDGER, SIZE[database]))
    engine.dispose()
    line = sum(device.client.traffic for device in clients)
    return {"line": line, "log": os.fstat(log.fileno()).st_size, "database": size, "ledger": ledger}


def show(database: str, played: Played, grown: Grown) -> None:
    """The figures of one database."""
    print(f"\n{database}: processor time of server and database\n")
    print("| | a call, ms | a day | ms |")
    print("|---|---|---|---|")
    for kind, count in DAY.items():
        one = played.milliseconds(kind)
        print(f"| {kind} | {one:.2f} | {count} | {one * count:.0f} |")
    print(f"| {LARGE_BATCH} | {played.milliseconds(LARGE_BATCH):.2f} | | |")
    day = played.day()
    print(
        f"\nA device and day: {day * 1000:.0f} ms of processor time, {grown.line / MEGABYTE:.1f} MB on the line, "
        f"{grown.log / 1000:.0f} kB of log, {grown.ledger} rows of the ledger, "
        f"{grown.database / 1000:.0f} kB of database."
    )
    print(f"Devices for each core, fully busy at the peak of {PEAK} times the mean: {DAY_SECONDS / PEAK / day:,.0f}")
    print(_formula(played), flush=True)


def _formula(played: Played) -> str:
    """The formula of docs/operating.md with these figures."""
    change = (played.milliseconds(LARGE_BATCH) - played.milliseconds(BATCH)) / (LARGE - CHANGES)
    batch = played.milliseconds(BATCH) - CHANGES * change
    brought = (played.milliseconds(ECHO) - played.milliseconds(QUIET)) / CHANGES
    return (
        f"cores = batches a second × ({batch:.1f} ms + {change:.2f} ms × changes in one)\n"
        f"      + looks a second × ({played.milliseconds(QUIET):.1f} ms + {brought:.2f} ms × rows that one brings)\n"
        f"      + refreshes a second × {played.milliseconds(REFRESH):.1f} ms\n"
        f"      + packages of {FORMS} forms a second × {played.milliseconds(PACKAGE):.0f} ms\n"
        f"      + megabytes of photos a second × {played.milliseconds(PHOTO) / 2:.0f} ms"
    )


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=DATABASES, help="one of them; both unless said")
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--share", type=float, default=1, help="of the day that is played")
    parser.add_argument("--pixels", type=int, default=12_000_000, help="of a photo")
    arguments = parser.parse_args()
    photo = jpeg(size_of(arguments.pixels), 2 * MEGABYTE)
    for database in DATABASES if arguments.database is None else (arguments.database,):
        show(database, *measure(database, arguments.devices, arguments.share, photo))


if __name__ == "__main__":
    main()
