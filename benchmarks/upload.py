"""How fast photos of 2 MB are taken, beside what decoding, SHA-256 and fsync alone reach.

The server has two workers and four clients upload at once. What is compared with it does the same to each photo, and
nothing else, in two processes: read the JPEG to its end at 1/8 scale, as the server does, but block by block and in
colour, which is Pillow's way; hash it, write it, fsync. They take turns; the ratio is the median of each round's.

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
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from statistics import median
from uuid import uuid4

from devices import Device, devices
from photos import MEGABYTE, distinct, jpeg, size_of
from PIL import Image
from server import running_postgresql, running_server

WORKERS, CLIENTS = 2, 4


def alone(photo: bytes, directory: str, seconds: float) -> int:
    """Decode, hash, write and sync for some seconds; how many photos."""
    end, count = time.monotonic() + seconds, 0
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
    return count


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


def rate(work: Callable[[], int], size: int) -> float:
    """Megabytes a second."""
    start = time.monotonic()
    return work() * size / MEGABYTE / (time.monotonic() - start)


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

        def both() -> tuple[float, float]:
            work = [photo] * WORKERS, [directory] * WORKERS, [seconds] * WORKERS
            limit = rate(lambda: sum(pool.map(alone, *work)), len(photo))
            return rate(lambda: upload(clients, photo, seconds), len(photo)), limit

        both()
        rounds = [both() for _ in range(arguments.rounds)]
    ratios = sorted(ours / limit for ours, limit in rounds)
    ours, limit = (median(each) for each in zip(*rounds, strict=True))
    print(f"A JPEG of {len(photo) / MEGABYTE:.2f} MB, {size[0]} × {size[1]} pixels:")
    print(f"  Fieldpost              {ours:6.1f} MB/s")
    print(f"  decode, SHA-256, fsync {limit:6.1f} MB/s")
    print(f"  ratio                  {median(ratios):6.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
