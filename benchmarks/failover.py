"""What devices lose, and how long they wait, when PostgreSQL's primary dies and its standby takes over.

Two PostgreSQLs, the second one a standby of the first, and a Fieldpost that knows both by one address. Devices push
changes all the time. Then the line between the two is cut, a moment later the primary is killed, and the standby is
promoted. Afterwards every operation that was acknowledged to a device is looked for in the ledger. This is done twice:
with a standby that the primary waits for (`synchronous_standby_names`), and with one that it does not wait for.

    python benchmarks/failover.py                  both
    python benchmarks/failover.py --cut 3          the line is cut for 3 seconds

Fails if anything that was acknowledged is lost with a standby that the primary waits for, or is applied twice.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from clusters import Cluster, clusters
from devices import Device, NotTakenError, devices
from server import PostgreSQL, running_server

RECORDS, BATCH = 20, 5

#: How long a standby waits before it asks a lost primary again. A promotion that meets it as it begins to ask waits as
#: long, which is five seconds unless you set it.
RETRY_INTERVAL = "200ms"

#: Whether the primary waits for the standby before it says that a change is safe.
KINDS = ("awaited", "not awaited")

#: What devices see of a server whose database is away: they send the same batch again.
UNANSWERED = (OSError, http.client.HTTPException, NotTakenError)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one failover has come to."""

    acknowledged: int
    #: Of these: not in the ledger afterwards, and there more than once.
    lost: int
    twice: int
    #: From the death of the primary to the first acknowledgement after it.
    seconds: float
    #: Whether the feed goes on from a cursor from just before the death of the primary; otherwise it says 410.
    keeps_cursor: bool


class Load:
    """Devices that push without end, each in a thread of its own."""

    def __init__(self, clients: Sequence[Device]) -> None:
        self._clients = clients
        self._is_over = threading.Event()
        #: The `local_id` of each acknowledged operation with the time of its acknowledgement.
        self.acknowledged: list[tuple[float, str]] = []
        self._threads = [threading.Thread(target=self._work, args=(device,), daemon=True) for device in clients]

    def start(self) -> None:
        """Let all devices begin."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Let each device end with an acknowledged batch."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self) -> float:
        """Wait until something is acknowledged that is sent from now on; the time of that."""
        began, known = time.monotonic(), len(self.acknowledged)
        while time.monotonic() < began + 60:
            # An answer that was under way already is none.
            for moment, _ in self.acknowledged[known + len(self._clients) * BATCH :]:
                return moment
            time.sleep(0.01)
        raise RuntimeError("Nothing was acknowledged for a minute.")

    def _work(self, device: Device) -> None:
        tick = 0
        while not self._is_over.is_set():
            tick += 1
            self._push(device, [device.ids[(tick * BATCH + index) % RECORDS] for index in range(BATCH)], tick)
            now = time.monotonic()
            self.acknowledged.extend((now, sent) for sent in device.sent_ids)

    def _push(self, device: Device, ids: Sequence[int], tick: int) -> None:
        try:
            device.push(ids, tick)
        except UNANSWERED:
            while not self._is_taken(device):
                time.sleep(0.1)

    def _is_taken(self, device: Device) -> bool:
        try:
            device.retry()
        except UNANSWERED:
            return False
        return True


def fail_over(directory: Path, *, is_awaited: bool, count: int, seconds: float, cut: float) -> Outcome:
    """One failover: `seconds` of load before and after it, and the line between the two cut for `cut` seconds."""
    with clusters(directory, 2) as (primary, standby):
        _begin_replication(primary, standby, is_awaited)
        # `read-write` would find no host: Fieldpost's connections are read only until a unit of work begins.
        hosts = f"host={primary.address}&host={standby.address}"
        url = f"postgresql://postgres@/postgres?{hosts}&target_session_attrs=primary"
        both = PostgreSQL(url=url, process_id=standby.process_id)
        # While there is no primary, the log of the server is full of that. Devices whose changes wait for the standby
        # hold a thread each, and one process has no more threads than there are devices: the reader needs a second one.
        with tempfile.TemporaryFile() as log, running_server(postgresql=both, log=log) as server:
            *clients, reader = devices(server, count + 1, RECORDS)
            load = Load(clients)
            load.start()
            time.sleep(seconds)
            primary.hold_back()
            time.sleep(cut)
            reader.look()
            primary.kill()
            killed = time.monotonic()
            standby.promote()
            waited = load.wait_for_more() - killed
            time.sleep(seconds)
            load.end()
            keeps_cursor = reader.keeps_its_place()
        return _compared(load, standby, waited, keeps_cursor)


def _begin_replication(primary: Cluster, standby: Cluster, is_awaited: bool) -> None:
    primary.initialize()
    primary.start()
    standby.copy(primary, "--write-recovery-conf")
    standby.start(wal_retrieve_retry_interval=RETRY_INTERVAL)
    if is_awaited:
        with psycopg.connect(primary.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")


def _compared(load: Load, standby: Cluster, seconds: float, keeps_cursor: bool) -> Outcome:
    with psycopg.connect(standby.url) as connection:
        query = "SELECT local_id, count(*) FROM ledger_operations GROUP BY local_id"
        there: dict[str, int] = dict(connection.execute(query).fetchall())
    counts = [there.get(local_id, 0) for _, local_id in load.acknowledged]
    return Outcome(
        acknowledged=len(counts),
        lost=counts.count(0),
        twice=sum(count > 1 for count in counts),
        seconds=seconds,
        keeps_cursor=keeps_cursor,
    )


def main() -> None:
    """Fail over as the command line says; the exit status tells whether anything was lost that must not be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=KINDS, help="one of the two; both unless said")
    parser.add_argument("--devices", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3, help="of load before and after")
    parser.add_argument("--cut", type=float, default=1, help="seconds for which the standby gets nothing")
    arguments = parser.parse_args()
    print("| standby | acknowledged | lost | applied twice | without an answer | the feed |")
    print("|---|---|---|---|---|---|")
    failures = []
    for name in KINDS if arguments.only is None else (arguments.only,):
        is_awaited = name == "awaited"
        with tempfile.TemporaryDirectory(prefix="fieldpost-failover-") as directory:
            outcome = fail_over(
                Path(directory),
                is_awaited=is_awaited,
                count=arguments.devices,
                seconds=arguments.seconds,
                cut=arguments.cut,
            )
        if outcome.twice or (is_awaited and outcome.lost):
            failures.append(f"With a standby that is {name}, operations were lost or applied twice: {outcome}")
        print(
            f"| {name} | {outcome.acknowledged} | {outcome.lost} | {outcome.twice} | {outcome.seconds:.1f} s "
            f"| {'goes on' if outcome.keeps_cursor else '410'} |",
            flush=True,
        )
    sys.exit("\n".join(failures) or None)


if __name__ == "__main__":
    main()
