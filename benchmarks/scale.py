"""What a device and day take with 1, 2 and 4 server processes on one PostgreSQL, and what many devices would need.

Each device plays a day of little habit, all of them at once and without pauses: 8 syncs with 40 changes in all and what
the feed says of them, 32 looks at the feed that bring nothing new, a new token each quarter of an hour, 6 photos of
2 MB, and a package. Prints for each number of processes the changes and calls a second, and for each device and day the
processor time of the servers and of PostgreSQL, how long PostgreSQL was at work, and its log. From the figures of one
process it reckons the table of docs/operating.md.

    python benchmarks/scale.py                                  16 devices, 1, 2 and 4 processes
    python benchmarks/scale.py --devices 2 --share 0.05         quick, and coarse
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import sqlalchemy
from device_day import (
    BATCH,
    CHANGES,
    DAY_SECONDS,
    ECHO,
    FORMS,
    PACKAGE,
    PEAK,
    PHOTO,
    QUIET,
    REFRESH,
    Caller,
    calls_of,
)
from devices import devices
from photos import MEGABYTE, jpeg, size_of
from processes import cpu_seconds
from server import Server, running_postgresql, running_server
from sqlalchemy import text

#: How often each kind of call comes in this day.
DAY = {REFRESH: 40, BATCH: 8, ECHO: 8, QUIET: 32, PHOTO: 6, PACKAGE: 1}

PROCESSES = (1, 2, 4)

#: For so many devices the table is reckoned.
FLEETS = (10_000, 100_000, 1_000_000)

#: Devices that call at the same time, for each process: as many as it has threads.
CALLERS = 4

#: Seconds in which PostgreSQL ran statements, and bytes that its log and the database have come to.
STATE = """
SELECT active_time / 1000, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0'), pg_database_size(current_database())
FROM pg_stat_database WHERE datname = current_database()
"""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What all devices have taken: of the servers, of PostgreSQL, and of its disk."""

    #: Processor seconds of each, and the seconds in which statements ran, their waits included.
    servers: float
    postgresql: float
    statements: float
    #: Bytes of PostgreSQL's log and of the database.
    log: float
    database: float

    def since(self, before: Taken, days: float) -> Taken:
        """What has been taken since then by each device and day."""
        names = ("servers", "postgresql", "statements", "log", "database")
        return Taken(**{name: (getattr(self, name) - getattr(before, name)) / days for name in names})


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One round."""

    processes: int
    #: By the second.
    changes: float
    calls: float
    #: Of each device and day.
    taken: Taken


def taken(server: Server, postgresql: int) -> Taken:
    """What has been taken up to now."""
    engine = sqlalchemy.create_engine(server.database_url)
    with engine.connect() as connection:
        # Processes tell their figures with a delay, and otherwise at their next statement.
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
        statements, log, database = connection.execute(text(STATE)).one()
    engine.dispose()
    return Taken(
        servers=cpu_seconds([server.process_id]),
        postgresql=cpu_seconds([postgresql]),
        statements=float(statements),
        log=float(log),
        database=float(database),
    )


def measure(processes: int, count: int, share: float, photo: bytes) -> Measured:
    """This share of the day of so many devices."""
    kinds = list(calls_of(DAY, share))
    with running_postgresql() as postgresql, running_server(workers=processes, postgresql=postgresql) as server:
        callers = [Caller(device, photo) for device in devices(server, count, records=FORMS)]
        _play(callers, list(DAY), processes)
        before, began = taken(server, postgresql.process_id), time.monotonic()
        _play(callers, kinds, processes)
        seconds = time.monotonic() - began
        spent = taken(server, postgresql.process_id).since(before, count * share)
    return Measured(
        processes=processes,
        changes=kinds.count(BATCH) * CHANGES * count / seconds,
        calls=len(kinds) * count / seconds,
        taken=spent,
    )


def _play(callers: Sequence[Caller], kinds: Sequence[str], processes: int) -> None:
    """Every device makes these calls, one after the other."""
    with ThreadPoolExecutor(CALLERS * processes) as pool:
        list(pool.map(lambda caller: [caller.call(kind) for kind in kinds], callers))


def show(measured: Measured) -> None:
    """A row of the first table."""
    part = measured.taken
    print(
        f"| {measured.processes} | {measured.changes:.0f} | {measured.calls:.0f} | {part.servers:.2f} s "
        f"| {part.postgresql:.2f} s | {part.statements:.2f} s | {part.log / 1000:.0f} kB "
        f"| {part.database / 1000:.0f} kB |",
        flush=True,
    )


def show_fleets(one: Measured) -> None:
    """The table for many devices."""
    rows = {
        "syncs a second, mean / peak": _mean_and_peak(DAY[BATCH]),
        "changes a second, mean / peak": _mean_and_peak(DAY[BATCH] * CHANGES),
        "looks at the feed a second, mean / peak": _mean_and_peak(DAY[ECHO] + DAY[QUIET]),
        "photos a second, mean / peak": _mean_and_peak(DAY[PHOTO]),
        "busy cores of servers, mean / peak": _mean_and_peak(one.taken.servers),
        "busy cores of PostgreSQL, mean / peak": _mean_and_peak(one.taken.postgresql),
        "statements at work at once, mean / peak": _mean_and_peak(one.taken.statements),
        "PostgreSQL's log a day": [_size(one.taken.log * fleet) for fleet in FLEETS],
        "database a day": [_size(one.taken.database * fleet) for fleet in FLEETS],
        "photos a day": [_size(DAY[PHOTO] * 2 * MEGABYTE * fleet) for fleet in FLEETS],
    }
    print(f"\n| | {' | '.join(f'{fleet:,} devices' for fleet in FLEETS)} |")
    print(f"|---|{'---|' * len(FLEETS)}")
    for name, values in rows.items():
        print(f"| {name} | {' | '.join(values)} |")


def _mean_and_peak(each: float) -> list[str]:
    """What comes so often, or takes so many seconds, for each device and day, by the second and for each fleet."""
    means = [each * fleet / DAY_SECONDS for fleet in FLEETS]
    return [f"{_number(mean)} / {_number(mean * PEAK)}" for mean in means]


def _number(value: float) -> str:
    """Two digits that mean something."""
    return f"{value:.1f}" if value < 10 else f"{float(f'{value:.2g}'):,.0f}"


def _size(count: float) -> str:
    return f"{_number(count / 1e12)} TB" if count >= 1e12 else f"{_number(count / 1e9)} GB"


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=PROCESSES)
    parser.add_argument("--devices", type=int, default=16)
    parser.add_argument("--share", type=float, default=1, help="of the day that is played")
    parser.add_argument("--pixels", type=int, default=12_000_000, help="of a photo")
    arguments = parser.parse_args()
    photo = jpeg(size_of(arguments.pixels), 2 * MEGABYTE)
    print("| processes | changes/s | calls/s | servers | PostgreSQL | statements | log | database |")
    print("|---|---|---|---|---|---|---|---|")
    rounds = []
    for processes in arguments.processes:
        rounds.append(measure(processes, arguments.devices, arguments.share, photo))
        show(rounds[-1])
    show_fleets(rounds[0])


if __name__ == "__main__":
    main()
