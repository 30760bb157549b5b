"""Whether anything grows that should not while a server runs: memory, SQLite's log, latency.

Devices do all that they do in `device_day.py`, retries included, without pause or end, and every few seconds it is
noted what the server takes. The last third of these samples is compared with the middle third: the first one is for
caches to fill. Latency is that of a batch as a multiple of a call that touches nothing, made beside it, so that a
machine that slows down is no trend.

    python benchmarks/soak.py --minutes 30                     on SQLite
    python benchmarks/soak.py --minutes 30 --postgresql        on a PostgreSQL that is started for it
    python benchmarks/soak.py --minutes 2 --saturate           16 connections that send batches of 20 and nothing else

Fails where a worker's memory or the latency has a trend, or where SQLite's log has passed 128 MB.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil
from devices import Device, devices
from photos import MEGABYTE, distinct, jpeg
from server import Server, running_postgresql, running_server
from sqlalchemy import make_url

DEVICES, SATURATING, RECORDS, BATCH = 4, 16, 100, 20

#: How many times the middle third's figure the last third's may be.
MEMORY_FACTOR, LATENCY_FACTOR = 1.1, 1.3

#: The most that SQLite's log may have, in MB.
LARGEST_LOG = 128.0


@dataclass(kw_only=True)
class Calls:
    """What the devices have done since the last sample."""

    count: int = 0
    #: Milliseconds, of batches and of calls that touch nothing.
    batches: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the server took at one moment, and how fast it was since the one before."""

    #: Of the larger worker, and of SQLite's log, in MB.
    memory: float
    log: float
    #: Calls a second, and the median of a batch as a multiple of a call that touches nothing.
    rate: float
    latency: float


class Soak:
    """Devices at work, each in a thread of its own, and the samples that were taken of their server."""

    def __init__(self, server: Server, clients: Sequence[Device], is_saturated: bool) -> None:
        self._server, self._clients, self._is_saturated = server, clients, is_saturated
        self._photo = jpeg((640, 480), MEGABYTE)
        self._calls = Calls()
        self._is_over = threading.Event()
        self.failures: list[BaseException] = []

    def run(self, seconds: float, samples: int) -> list[Sample]:
        """Let the devices work, and take so many samples."""
        with self.working():
            return [self._sample(seconds / samples) for _ in range(samples)]

    @contextmanager
    def working(self) -> Iterator[None]:
        """Let the devices work as long as the block lasts."""
        threads = [threading.Thread(target=self._work, args=(device,)) for device in self._clients]
        self._is_over.clear()
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()

    def _work(self, device: Device) -> None:
        tick, actions = 0, [self._batch, self._idle] if self._is_saturated else self._habits()
        try:
            while not self._is_over.is_set():
                # All of them in each round, in another order, so that rounds are alike.
                for action in random.sample(actions, len(actions)):
                    tick += 1
                    action(device, tick)
                    self._calls.count += 1
        except BaseException as error:
            self.failures.append(error)

    def _habits(self) -> list[Callable[[Device, int], None]]:
        def upload(device: Device, tick: int) -> None:
            device.upload(distinct(self._photo), f"Photo_{tick % 50}")

        return [
            *[self._batch, self._idle] * 4,
            upload,
            lambda device, _: device.package(),
            lambda device, _: device.status(),
            lambda device, _: device.client.refresh(),
            self._retry,
            self._look,
        ]

    def _retry(self, device: Device, _tick: int) -> None:
        device.retry()

    def _look(self, device: Device, _tick: int) -> None:
        device.look()

    def _batch(self, device: Device, tick: int) -> None:
        ids = [device.ids[(tick * BATCH + index) % RECORDS] for index in range(BATCH)]
        start = time.perf_counter()
        if device.push(ids, tick):
            raise RuntimeError("A change was not applied.")
        self._calls.batches.append((time.perf_counter() - start) * 1000)

    def _idle(self, device: Device, _tick: int) -> None:
        start = time.perf_counter()
        device.client.call("GET", "/healthz")
        self._calls.idle.append((time.perf_counter() - start) * 1000)

    def _sample(self, seconds: float) -> Sample:
        calls = self._calls = Calls()
        self._is_over.wait(seconds)
        return Sample(
            memory=max(psutil.Process(worker).memory_info().rss for worker in self._server.worker_ids()) / MEGABYTE,
            log=_log_size(self._server) / MEGABYTE,
            rate=calls.count / seconds,
            latency=median(calls.batches or [0]) / median(calls.idle or [1]),
        )


def _log_size(server: Server) -> int:
    """Bytes of SQLite's log; 0 for PostgreSQL."""
    path = make_url(server.database_url).database or ""
    with suppress(FileNotFoundError):
        return Path(f"{path}-wal").stat().st_size
    return 0


def trends(samples: Sequence[Sample]) -> list[str]:
    """A sentence for each figure that has grown or is too large."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[-third:]
    memory = [median(sample.memory for sample in part) for part in (middle, last)]
    latency = [median(sample.latency for sample in part) for part in (middle, last)]
    log = max(sample.log for sample in samples)
    found = []
    if memory[1] > memory[0] * MEMORY_FACTOR:
        found.append(f"Memory of a worker has grown from {memory[0]:.0f} to {memory[1]:.0f} MB.")
    # A short run may have a third without a batch.
    if latency[0] and latency[1] > latency[0] * LATENCY_FACTOR:
        found.append(f"A batch has come to take {latency[1] / latency[0]:.2f} times as long.")
    if log > LARGEST_LOG:
        found.append(f"SQLite's log has reached {log:.0f} MB.")
    return found


def main() -> None:
    """Run as the command line says; the exit status tells whether there was a trend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--saturate", action="store_true", help="16 connections that send batches and nothing else")
    arguments = parser.parse_args()
    with (
        running_postgresql() if arguments.postgresql else nullcontext() as postgresql,
        running_server(postgresql=postgresql) as server,
    ):
        clients = devices(server, SATURATING if arguments.saturate else DEVICES, RECORDS)
        soak = Soak(server, clients, arguments.saturate)
        samples = soak.run(arguments.minutes * 60, arguments.samples)
    print("| part of the time | calls/s | worker, MB | log, MB | batch / idle call |")
    print("|---|---|---|---|---|")
    third = len(samples) // 3
    for name, part in {
        "first": samples[:third],
        "middle": samples[third : 2 * third],
        "last": samples[-third:],
    }.items():
        figures = [median(getattr(sample, figure) for sample in part) for figure in ("rate", "memory", "latency")]
        log = max(sample.log for sample in part)
        print(f"| {name} | {figures[0]:.1f} | {figures[1]:.0f} | {log:.1f} at most | {figures[2]:.1f} |", flush=True)
    failures = [f"A device failed: {error!r}" for error in soak.failures]
    sys.exit("\n".join([*failures, *trends(samples)]) or None)


if __name__ == "__main__":
    main()
