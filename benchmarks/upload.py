"""How fast photos of 2 MB are taken, beside what decoding, SHA-256 and fsync alone reach.

The server has two workers and four clients upload at once. What is compared with it does the same to each photo, and
nothing else, in two processes: read the JPEG to its end at 1/8 scale, as the server does, but block by block and in
colour, which is Pillow's way; hash it, write it, fsync. They take turns; the ratio is the median of each round's.

The clients run on the same processors as the server, and nobody calls the work that it is compared with. Therefore the
ratio of processor time is printed, too: that of the server and its database for a photo, without the clients. It also
depends less on what else the machine does.

    python benchmarks/upload.py                 Fieldpost on SQLite
    python benchmarks/upload.py --postgresql    on a PostgreSQL that is started for it
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from statistics import median
from uuid import uuid4

from devices import Device, devices
from photos import MEGABYTE, distinct, jpeg, size_of
from PIL import Image
from processes import cpu_seconds
from server import running_postgresql, running_server

WORKERS, CLIENTS = 2, 4


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What has been done in some seconds."""

    photos: int
    #: Seconds, user and system.
    processor_time: float


def alone(photo: bytes, directory: str, seconds: float) -> Turn:
    """Decode, hash, write and sync for some seconds."""
    end, count, before = time.monotonic() + seconds, 0, time.process_time()
    while time.monotonic() < end:
        data = distinct(photo)
        with Image.open(BytesIO(data)) as image:
            image.draft(None, (image.width // 8, image.height // 8))
            image.load()
        path = Path(directory) / hashlib.sha256(data).hexdigest()
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        count += 1
    return Turn(photos=count, processor_time=time.process_time() - before)


def added_up(turns: Iterable[Turn]) -> Turn:
    """Turns that were taken at once, as one."""
    done = list(turns)
    return Turn(photos=sum(each.photos for each in done), processor_time=sum(each.processor_time for each in done))


def upload(clients: Sequence[Device], photo: bytes, seconds: float) -> int:
    """Upload from all clients at once for some seconds; how many photos."""
    end = time.monotonic() + seconds
    counts: list[int] = []

    def run(client: Device) -> None:
        count = 0
        while time.monotonic() < end:
            # A field of its own: a form fill with thousands of photos in one field is nobody's.
            client.upload(distinct(photo), uuid4().hex)
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=run, args=(each,)) for each in clients]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return sum(counts)


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast photos are taken."""

    #: Megabytes a second.
    rate: float
    #: Milliseconds of processor time for a photo.
    cost: float


def speed(work: Callable[[], Turn], size: int) -> Speed:
    """The speed of work on photos of this size."""
    start = time.monotonic()
    turn = work()
    rate = turn.photos * size / MEGABYTE / (time.monotonic() - start)
    return Speed(rate=rate, cost=turn.processor_time / turn.photos * 1000)


def show(name: str, ratios: Sequence[float]) -> None:
    """The median of the rounds, the lowest and the highest."""
    print(f"  {name:22} {median(ratios):6.2f} ({min(ratios):.2f}–{max(ratios):.2f})")


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--seconds", type=float, default=5, help="of one turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pixels", type=int, default=12_000_000, help="of a photo")
    arguments = parser.parse_args()
    size, seconds = size_of(arguments.pixels), arguments.seconds
    photo = jpeg(size, 2 * MEGABYTE)
    with (
        running_postgresql() if arguments.postgresql else nullcontext() as postgresql,
        running_server(workers=WORKERS, postgresql=postgresql) as server,
        ProcessPoolExecutor(WORKERS) as pool,
        tempfile.TemporaryDirectory(prefix="fieldpost-alone-") as directory,
    ):
        clients = devices(server, count=CLIENTS, records=1)

        roots = [server.process_id, *([postgresql.process_id] if postgresql else [])]

        def measured_upload() -> Turn:
            before = cpu_seconds(roots)
            count = upload(clients, photo, seconds)
            return Turn(photos=count, processor_time=cpu_seconds(roots) - before)

        def both() -> tuple[Speed, Speed]:
            work = [photo] * WORKERS, [directory] * WORKERS, [seconds] * WORKERS
            limit = speed(lambda: added_up(pool.map(alone, *work)), len(photo))
            return speed(measured_upload, len(photo)), limit

        both()
        rounds = [both() for _ in range(arguments.rounds)]
    ours, limit = zip(*rounds, strict=True)
    print(f"A JPEG of {len(photo) / MEGABYTE:.2f} MB, {size[0]} × {size[1]} pixels:")
    for name, speeds in (("Fieldpost", ours), ("decode, SHA-256, fsync", limit)):
        rate, cost = median(each.rate for each in speeds), median(each.cost for each in speeds)
        print(f"  {name:22} {rate:6.1f} MB/s {cost:6.1f} ms of processor time")
    show("ratio", [mine.rate / least.rate for mine, least in rounds])
    show("ratio of that time", [least.cost / mine.cost for mine, least in rounds])


if __name__ == "__main__":
    main()
