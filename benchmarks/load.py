"""The load that all contenders are under: clients that push batches of changes for some seconds.

Each of 4 clients has 200 records of 20 fields and changes 2 fields of each record in turn, each change with the version
last seen; it takes over the versions that are answered. A change that is not applied is counted and must not occur.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any, Protocol

from processes import cpu_seconds

CLIENTS, RECORDS, FIELDS = 4, 200, 20


class Peer(Protocol):
    """One client of one server, with records of its own."""

    @property
    def ids(self) -> Sequence[Any]:
        """The ids of its records."""

    def push(self, ids: Sequence[Any], tick: int) -> int:
        """Send one batch; how many of its changes were not applied."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A server under load."""

    name: str
    peers: Sequence[Peer]
    #: The processes that everything it does runs in, its database included: each with all of its children.
    roots: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one contender did in one round."""

    operations: int
    seconds: float
    cpu_seconds: float
    #: Of each batch, in milliseconds.
    latencies: Sequence[float]
    failed: int

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds

    @property
    def cpu_per_thousand(self) -> float:
        """Processor seconds of server and database for 1000 operations."""
        return self.cpu_seconds / self.operations * 1000

    def percentile(self, percent: int) -> float:
        """Milliseconds that so many of a hundred batches were answered within."""
        if len(self.latencies) < 2:
            return self.latencies[0]
        return quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


def record(number: int) -> dict[str, str]:
    """A record as every contender gets it."""
    return {f"Field_{each}": f"value {each} of record {number} lorem ipsum dolor" for each in range(FIELDS)}


def changed(tick: int) -> dict[str, str]:
    """The two fields that an operation changes."""
    return {"Field_1": f"t{tick}", "Field_2": f"u{tick}"}


def load(contender: Contender, batch: int, seconds: float) -> Measured:
    """Push from all clients at once for some seconds."""
    latencies: list[float] = []
    failed: list[int] = []
    end = time.monotonic() + seconds

    def run(peer: Peer) -> None:
        position = tick = 0
        while time.monotonic() < end:
            ids = [peer.ids[(position + each) % len(peer.ids)] for each in range(batch)]
            position, tick = position + batch, tick + 1
            start = time.perf_counter()
            failed.append(peer.push(ids, tick))
            latencies.append((time.perf_counter() - start) * 1000)

    cpu, start = cpu_seconds(contender.roots), time.monotonic()
    threads = [threading.Thread(target=run, args=(each,)) for each in contender.peers]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return Measured(
        operations=len(latencies) * batch,
        seconds=time.monotonic() - start,
        cpu_seconds=cpu_seconds(contender.roots) - cpu,
        latencies=latencies,
        failed=sum(failed),
    )
