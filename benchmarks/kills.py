"""Whether killed workers leave anything behind: files of numbers, and time that `/metrics` takes to add them up.

Devices send batches, and a worker is killed (SIGKILL) as soon as all are ready again. The figures are taken while
nothing is sent: when the server is new, after the first kill, which brings the files with the sums of ended workers,
and after the last one.

    python benchmarks/kills.py                 50 kills

Fails where files, bytes or time have grown by more than a tenth since the first kill.
"""

from __future__ import annotations

import argparse
import http.client
import os
import secrets
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from devices import devices
from server import Server, running_server
from soak import Soak

from app.core.host.endings import PREFIX
from app.serving.shared import READY

WORKERS, DEVICES, RECORDS = 2, 4, 100

#: How often `/metrics` is asked for each figure.
ASKED = 40

#: How many times the figures after the first kill those after the last one may be.
FACTOR = 1.1


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What the numbers of all workers take."""

    files: int
    bytes: int
    #: The shortest of some calls of `/metrics`: others are longer by what else the machine does.
    milliseconds: float
    #: The lines of its answer.
    lines: int


def figures(server: Server, directory: Path, token: str) -> Figures:
    """The figures of the server at this moment."""
    seconds, lines = [], 0
    for _ in range(ASKED):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        start = time.perf_counter()
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        lines = len(answer.read().splitlines())
        seconds.append(time.perf_counter() - start)
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"/metrics has answered {answer.status}.")
    sizes = [path.stat().st_size for path in directory.iterdir()]
    return Figures(files=len(sizes), bytes=sum(sizes), milliseconds=min(seconds) * 1000, lines=lines)


def kill_workers(server: Server, directory: Path, soak: Soak, times: int) -> None:
    """Kill a worker so many times, each time when all are ready, while devices send."""
    with soak.working():
        for number in range(times):
            workers = _ready(server, directory)
            os.kill(workers[number % len(workers)], signal.SIGKILL)
            while workers[number % len(workers)] in server.worker_ids():
                time.sleep(0.01)
        _ready(server, directory)


def _ready(server: Server, directory: Path) -> list[int]:
    """The workers, once all of them are ready."""
    while True:
        workers = server.worker_ids()
        if len(workers) == WORKERS and all((directory / f"{READY}{worker}").exists() for worker in workers):
            return workers
        time.sleep(0.05)


def growth(before: Figures, after: Figures) -> list[str]:
    """A sentence for each figure that has grown."""
    found = []
    if after.files > before.files * FACTOR:
        found.append(f"There are {after.files} files instead of {before.files}.")
    if after.bytes > before.bytes * FACTOR:
        found.append(f"The files have {after.bytes} bytes instead of {before.bytes}.")
    if after.milliseconds > before.milliseconds * FACTOR:
        found.append(f"/metrics takes {after.milliseconds:.1f} ms instead of {before.milliseconds:.1f}.")
    return found


def main() -> None:
    """Run as the command line says; the exit status tells whether anything has grown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    arguments = parser.parse_args()
    token = secrets.token_urlsafe()
    with (
        tempfile.TemporaryDirectory(prefix="fieldpost-kills-") as temporary,
        Path(temporary, "log").open("wb") as log,
        running_server(WORKERS, log=log, TMPDIR=temporary, FIELDPOST_METRICS_TOKEN=token) as server,
    ):
        (directory,) = Path(temporary).glob(f"{PREFIX}*")
        soak = Soak(server, devices(server, DEVICES, RECORDS), is_saturated=True)
        print("| kills | files | bytes | /metrics, ms | lines |\n|---|---|---|---|---|")
        taken = []
        for kills in (0, 1, arguments.kills - 1):
            kill_workers(server, directory, soak, kills)
            taken.append(figures(server, directory, token))
            told = taken[-1]
            done = (0, 1, arguments.kills)[len(taken) - 1]
            print(f"| {done} | {told.files} | {told.bytes} | {told.milliseconds:.1f} | {told.lines} |", flush=True)
    failures = [f"A device failed: {error!r}" for error in soak.failures]
    sys.exit("\n".join([*failures, *growth(taken[1], taken[2])]) or None)


if __name__ == "__main__":
    main()
