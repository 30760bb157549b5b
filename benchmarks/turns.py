"""The processor time of devices' calls in this checkout and in another one, such as the commit before, in turns.

    python benchmarks/turns.py ../before                                  both databases
    python benchmarks/turns.py ../before --database sqlite --rounds 30
    python benchmarks/turns.py ../before --kinds "100 refused" refresh    these kinds of calls only

The other checkout needs an environment of its own, in which its `make run` has installed it. Both servers run at once,
each with a database of its own, and take turns, so that a noisy machine is noisy for both. Prints for each kind of call
the median of the quotients of neighbouring turns, this checkout's time divided by the other's, and the middle half
of the quotients. The time is that of all processes of the server and of PostgreSQL.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from statistics import median, quantiles

import psycopg
from device_day import DATABASES
from devices import Device, devices
from photos import MEGABYTE, distinct, jpeg, size_of
from processes import cpu_seconds
from server import ADMIN, ROOT, Client, running_postgresql, running_server

#: The items of a large batch, and those of them that meet a conflict.
LARGE, CONFLICTS = 100, 10

#: A version that is none.
NO_VERSION = "no time"


class Caller:
    """A device that makes calls of each kind. The office has changed its first rows, which it does not know."""

    def __init__(self, device: Device, office: Client, photo: bytes) -> None:
        self._device, self._client, self._ticks = device, device.client, 0
        self._changed, self._own = device.ids[:CONFLICTS], device.ids[CONFLICTS:]
        Device.of(office, device).push(self._changed, 0)
        self.kinds: dict[str, Callable[[], object]] = {
            "1 applied": lambda: self._push(self._own[:1]),
            "100 applied": lambda: self._push(self._own),
            "10 conflicts of 100": lambda: self._push(self._changed + self._own[CONFLICTS:], CONFLICTS),
            "100 refused": lambda: self._push(self._own, LARGE, dict.fromkeys(self._own, NO_VERSION)),
            "refresh": device.client.refresh,
            "refresh, and its token's first use": self._renew,
            "look, nothing new": device.look,
            "package": device.package,
            "photo of 2 MB": lambda: device.upload(distinct(photo), f"Photo_{self._ticks}"),
            "status": device.status,
        }

    def call(self, kind: str) -> None:
        """One call."""
        self._ticks += 1
        self.kinds[kind]()

    def _renew(self) -> None:
        """What a device does when its token has ended: another server may make the first use dear, or the refresh."""
        self._client.refresh()
        self._client.call("GET", "/api/v1/auth/me")

    def _push(self, ids: Sequence[int], missed: int = 0, versions: Mapping[int, str] | None = None) -> None:
        """One batch of which so many changes are not applied."""
        count = self._device.push(ids, self._ticks, versions)
        if count != missed:
            raise RuntimeError(f"{count} changes were not applied, where {missed} were to be.")


class Contestant:
    """A running server, and the devices that call it."""

    def __init__(self, callers: Sequence[Caller], roots: Sequence[int], database_url: str | None) -> None:
        self._callers, self._roots, self._database_url = itertools.cycle(callers), roots, database_url
        self.kinds = tuple(callers[0].kinds)

    def turn(self, kind: str, seconds: float) -> float:
        """Call for so long; the milliseconds of processor time that a call has taken."""
        calls, before, end = 0, cpu_seconds(self._roots), time.monotonic() + seconds
        while time.monotonic() < end:
            next(self._callers).call(kind)
            calls += 1
        return (cpu_seconds(self._roots) - before) / calls * 1000

    def settle(self) -> None:
        """What PostgreSQL does by itself within a minute: until then it has plans for tables that were nearly empty."""
        if self._database_url is not None:
            with psycopg.connect(self._database_url, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")


@contextmanager
def contestant(checkout: Path, database: str, count: int, photo: bytes) -> Iterator[Contestant]:
    """The server of a checkout, with so many devices."""
    with (
        running_postgresql() if database == "postgresql" else nullcontext() as postgresql,
        running_server(postgresql=postgresql, checkout=checkout) as server,
    ):
        office = server.client(ADMIN)
        callers = [Caller(device, office, photo) for device in devices(server, count, records=CONFLICTS + LARGE)]
        roots = [server.process_id, *([postgresql.process_id] if postgresql else [])]
        yield Contestant(callers, roots, postgresql.url if postgresql else None)


def measure(ours: Contestant, theirs: Contestant, kind: str, seconds: float, rounds: int) -> list[tuple[float, float]]:
    """The milliseconds of a call in each round, here and there, after a round that does not count."""
    found = []
    for number in range(rounds + 1):
        order = (ours, theirs) if number % 2 else (theirs, ours)
        if number == 1:
            for each in order:
                each.settle()
        taken = {each: each.turn(kind, seconds) for each in order}
        found.append((taken[ours], taken[theirs]))
    return found[1:]


def show(kind: str, found: Sequence[tuple[float, float]]) -> None:
    """A line of the table."""
    ratios = [ours / theirs for ours, theirs in found]
    least, middle, most = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    ours, theirs = (median(column) for column in zip(*found, strict=True))
    print(f"| {kind} | {ours:.2f} | {theirs:.2f} | {middle:.2f} ({least:.2f}–{most:.2f}) |", flush=True)


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="the directory of the other checkout")
    parser.add_argument("--database", choices=DATABASES, help="one of them; both unless said")
    parser.add_argument("--kinds", nargs="+", help="of calls; all unless said")
    parser.add_argument("--seconds", type=float, default=1, help="of one turn")
    parser.add_argument("--rounds", type=int, default=15)
    # They call one after the other, so that none fills the room for what was refused.
    parser.add_argument("--devices", type=int, default=8, help="of each server")
    parser.add_argument("--pixels", type=int, default=12_000_000, help="of a photo")
    arguments = parser.parse_args()
    photo = jpeg(size_of(arguments.pixels), 2 * MEGABYTE)
    for database in DATABASES if arguments.database is None else (arguments.database,):
        print(f"\n{database}\n\n| | ms here | ms there | quotient |\n|---|---|---|---|")
        with ExitStack() as stack:
            checkouts = (ROOT, arguments.checkout.resolve())
            ours, theirs = (
                stack.enter_context(contestant(each, database, arguments.devices, photo)) for each in checkouts
            )
            for kind in arguments.kinds or ours.kinds:
                show(kind, measure(ours, theirs, kind, arguments.seconds, arguments.rounds))


if __name__ == "__main__":
    main()
