"""The cost of keeping items that were not applied: batches of 100 in turns, with their rows kept and not kept.

    python benchmarks/set_aside.py                                    both databases
    python benchmarks/set_aside.py --database sqlite --rounds 15      one of them, and fewer rounds

Prints, for each kind of batch, the median of the quotients of two neighbouring batches: in processor time of this
process, and on the clock, in which the work of PostgreSQL's own processes is, too. The rows that a batch has left are
removed before the next one, so that all rounds measure the same.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from feed import DATABASES, empty
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete

from app.clock import to_wire
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.core.database.write import Write
from app.core.sync import batch
from app.core.sync.attempt import Attempt
from app.models import FormFill, SetAside
from app.testing import World, push, sign_in

SIZE = 100

#: Rounds that are not measured.
WARM_UP = 3


def nothing(_attempt: Attempt) -> Iterable[Write]:
    """What keeps no rows."""
    return ()


def edit(form_fill: FormFill, value: object, version: str | None = None) -> dict[str, Any]:
    """An item that changes one field."""
    data = {"id": form_fill.id, "changes": {"a": value}, "updated_at": version}
    return {"type": "form_fill", "local_id": str(uuid4()), "data": data}


def seconds(client: FlaskClient, items: list[dict[str, Any]]) -> tuple[float, float]:
    """What a batch takes: processor time, and time on the clock."""
    processor, clock = time.process_time(), time.perf_counter()
    push(client, *items)
    return time.process_time() - processor, time.perf_counter() - clock


def remove_rows(app: Flask) -> None:
    """Remove the rows of items that were not applied."""
    with app.app_context(), writing(db.engine) as connection:
        connection.execute(delete(SetAside))


def measure(app: Flask, client: FlaskClient, make: Callable[[], list[dict[str, Any]]], rounds: int) -> list[float]:
    """The quotients, with rows kept to not kept, of processor time and of time on the clock."""
    quotients = []
    for number in range(WARM_UP + rounds):
        kept = seconds(client, make())
        remove_rows(app)
        with patch.object(batch, "set_aside", nothing):
            plain = seconds(client, make())
        if number >= WARM_UP:
            quotients.append([mine / other for mine, other in zip(kept, plain, strict=True)])
    return [statistics.median(column) for column in zip(*quotients, strict=True)]


def run(database: str, rounds: int) -> None:
    """Measure each kind of batch on a database."""
    with empty(database) as app:
        world = World(app)
        owner, tech = world.user("owner@example.com", "user"), world.user()
        form_fill = world.form_fill(world.inspection(owner, tech))
        held = to_wire(form_fill.updated_at)
        client = sign_in(app, tech)
        push(sign_in(app, owner), edit(form_fill, "owner"))

        def items(conflicts: int) -> list[dict[str, Any]]:
            versions = [held] * conflicts + [None] * (SIZE - conflicts)
            return [edit(form_fill, str(uuid4()), version) for version in versions]

        def refused() -> list[dict[str, Any]]:
            return [edit(form_fill, str(uuid4()), "no time") for _ in range(SIZE)]

        kinds = {"all applied": 0, "10 conflicts": 10, "all conflicts": SIZE}
        makers: dict[str, Callable[[], list[dict[str, Any]]]]
        makers = {name: partial(items, conflicts) for name, conflicts in kinds.items()} | {"all refused": refused}
        print(f"{database}: quotients of processor time, and on the clock")
        for name, make in makers.items():
            processor, clock = measure(app, client, make, rounds)
            print(f"  {name:>14}: {processor:.3f} × {clock:.3f} ×", flush=True)


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--database", choices=DATABASES, action="append")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    for database in options.database or DATABASES:
        run(database, options.rounds)


if __name__ == "__main__":
    main()
