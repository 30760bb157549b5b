"""How long the unit of work of a photo holds its locks, in one worker into which several clients upload at once.

From the first lock on (on SQLite BEGIN IMMEDIATE) until COMMIT has been answered. Other threads read, hash and decode
photos meanwhile. Prints milliseconds of the clock: the median, the 95th percentile and the longest.

    python benchmarks/photo_locks.py                                    both databases
    python benchmarks/photo_locks.py --database sqlite --clients 1      without others
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from statistics import median, quantiles
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from feed import DATABASES, empty
from flask import Flask
from flask.testing import FlaskClient
from photos import MEGABYTE, distinct, jpeg, size_of

from app.core.ledger import record
from app.core.ledger.unit import unit_of_work
from app.testing import World, sign_in


def device(app: Flask, world: World) -> Callable[[bytes], None]:
    """Uploads a photo of a technician to a field of its own."""
    user = world.user(f"{uuid4().hex}@example.com")
    form_fill_id = world.form_fill(world.inspection(user)).id
    client: FlaskClient = sign_in(app, user)

    def upload(photo: bytes) -> None:
        form = {"form_fill_id": str(form_fill_id), "field_name": uuid4().hex, "photo": (BytesIO(photo), "photo.jpg")}
        answer = client.post("/api/v1/sync/upload_photo", data=form)
        if answer.status_code != 200:
            raise RuntimeError(f"The upload was refused: {answer.text}")

    return upload


@contextmanager
def timed_units() -> Iterator[list[float]]:
    """The milliseconds of each unit of work, from its first lock on, while the block lasts."""
    taken: list[float] = []

    def timed(work: Callable[[str], Any]) -> Any:
        began = 0.0

        def noted(unit_id: str) -> Any:
            nonlocal began
            began = time.perf_counter()
            return work(unit_id)

        result = unit_of_work(noted)
        taken.append((time.perf_counter() - began) * 1000)
        return result

    with patch.object(record, "unit_of_work", timed):
        yield taken


def measure(database: str, photo: bytes, count: int, clients: int) -> Sequence[float]:
    """Upload so many photos; how long each one's locks were held."""
    with empty(database) as app:
        world = World(app)
        uploads = [device(app, world) for _ in range(clients)]

        def run(upload: Callable[[bytes], None]) -> None:
            for _ in range(count // clients):
                upload(distinct(photo))

        with ThreadPoolExecutor(clients) as threads:
            # The first ones compile statements.
            list(threads.map(lambda upload: upload(distinct(photo)), uploads))
            with timed_units() as taken:
                list(threads.map(run, uploads))
    return taken


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=DATABASES, help="one of them; both unless said")
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--clients", type=int, default=4, help="at once: as many as the threads of a worker")
    parser.add_argument("--pixels", type=int, default=12_000_000, help="of a photo")
    arguments = parser.parse_args()
    photo = jpeg(size_of(arguments.pixels), 2 * MEGABYTE)
    print("| | median | 95 % | longest |\n|---|---|---|---|")
    for database in DATABASES if arguments.database is None else (arguments.database,):
        taken = measure(database, photo, arguments.photos, arguments.clients)
        print(f"| {database} | {median(taken):.1f} | {quantiles(taken, n=20)[-1]:.1f} | {max(taken):.1f} |", flush=True)


if __name__ == "__main__":
    main()
