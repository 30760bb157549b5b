"""Memory of the server above idle: a batch of 1000, and 20 uploads of large photos at once.

The sum of what each worker took at its peak. After a first small batch and upload, so that what is loaded once and
stays does not count. What the larger worker took before stands beside it.

    python benchmarks/memory.py                 Fieldpost on SQLite
    python benchmarks/memory.py --postgresql    on a PostgreSQL that is started for it
    python benchmarks/memory.py --only JPEG     some of the cases
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

from devices import Device, devices
from photos import MIB, distinct, jpeg, png
from processes import Memory
from server import PostgreSQL, running_postgresql, running_server

LARGEST = 10 * MIB - 64


def batch_of(items: int) -> Callable[[list[Device]], None]:
    """A batch that makes so many form fills, and one that changes each of them."""

    def run(clients: list[Device]) -> None:
        client = clients[0]
        client.create(items)
        failed = client.push(client.ids[-items:], 1)
        if failed:
            raise RuntimeError(f"{failed} changes were not applied.")

    return run


def uploads_of(photo: bytes, count: int) -> Callable[[list[Device]], None]:
    """So many uploads at once, each of another file."""

    def run(clients: list[Device]) -> None:
        with ThreadPoolExecutor(count) as pool:
            for each in [pool.submit(clients[index].upload, distinct(photo)) for index in range(count)]:
                each.result()

    return run


def measure(postgresql: PostgreSQL | None, count: int, load: Callable[[list[Device]], None]) -> tuple[float, float]:
    """MiB above idle, and of the larger worker before, in a server that has just been started."""
    with running_server(postgresql=postgresql) as server:
        clients = devices(server, count=count, records=1)
        small = jpeg((640, 480), MIB)
        for each in clients[:8]:
            each.push(each.ids, 0)
            each.upload(distinct(small))
        memory = Memory(server.worker_ids())
        load(clients)
        return memory.above_idle(), memory.idle()


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--uploads", type=int, default=20)
    parser.add_argument("--scale", type=float, default=1, help="of the sides of the photos; less is quicker")
    parser.add_argument("--only", default="", help="cases that have this in their names")
    arguments = parser.parse_args()

    def size(width: int, height: int) -> tuple[int, int]:
        return int(width * arguments.scale), int(height * arguments.scale)

    count = arguments.uploads
    cases: dict[str, Callable[[], Callable[[list[Device]], None]]] = {
        f"a batch of {arguments.items}": lambda: batch_of(arguments.items),
        f"{count} uploads: baseline JPEG, 24 megapixels": lambda: uploads_of(jpeg(size(6000, 4000), LARGEST), count),
        f"{count} uploads: progressive JPEG, 50 megapixels": lambda: uploads_of(
            jpeg(size(8660, 5770), LARGEST, progressive=True), count
        ),
        f"{count} uploads: PNG, 50 megapixels": lambda: uploads_of(png(size(8660, 5770), LARGEST), count),
    }
    with running_postgresql() if arguments.postgresql else nullcontext() as postgresql:
        for name, case in cases.items():
            if arguments.only not in name:
                continue
            above, idle = measure(postgresql, count, case())
            print(f"{name:45} {above:6.1f} MiB above idle; the larger worker had {idle:.0f}", flush=True)


if __name__ == "__main__":
    main()
