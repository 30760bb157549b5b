"""The cost of keeping items that were not applied: batches of 100 in turns, with their rows kept and not kept.

    python benchmarks/set_aside.py                                    both databases
    python benchmarks/set_aside.py --database sqlite --rounds 15      one of them, and fewer rounds
    python benchmarks/set_aside.py --rounds 1 --decisions 100         quick

Prints, for each kind of batch, the median of the quotients of two neighbouring batches: in processor time of this
process, and on the clock, in which the work of PostgreSQL's own processes is, too; and the medians of the processor
time, with rows kept and not kept. The process looks for garbage as seldom as a worker of the server does. The rows that
a batch has left are removed before the next one, so that all rounds measure the same. Then the office applies 1000
refused items at once, and discards as many: prints the seconds of processor time, PostgreSQL's included, and on the
clock.
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

from feed import DATABASES, database_processes, empty
from flask import Flask
from flask.testing import FlaskClient
from processes import cpu_seconds
from sqlalchemy import delete

from app.clock import to_wire
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.core.database.write import Write
from app.core.sync import batch
from app.core.sync.attempt import Attempt
from app.models import FormFill, SetAside
from app.serving.tuning import spare_application
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
    """The quotients, with rows kept to not kept, of processor time and of time on the clock; and both processor times
    in milliseconds.
    """
    figures = []
    for number in range(WARM_UP + rounds):
        kept = seconds(client, make())
        remove_rows(app)
        with patch.object(batch, "set_aside", nothing):
            plain = seconds(client, make())
        if number >= WARM_UP:
            quotients = [mine / other for mine, other in zip(kept, plain, strict=True)]
            figures.append([*quotients, kept[0] * 1000, plain[0] * 1000])
    return [statistics.median(column) for column in zip(*figures, strict=True)]


def decide(app: Flask, office: FlaskClient, decision: str, count: int) -> None:
    """Print what so many decisions take in one request."""
    roots = database_processes(app)
    of_database, processor, clock = cpu_seconds(roots), time.process_time(), time.perf_counter()
    body = {"decision": decision, "filter": {"code": "forbidden"}, "count": count}
    answer = office.post("/api/v1/set_aside/decisions", json=body)
    spent = time.process_time() - processor + cpu_seconds(roots) - of_database
    assert answer.json is not None, answer.text
    decided = sum(result["result"] == "decided" for result in answer.json["data"]["results"])
    assert decided == count, answer.text[:500]
    print(f"  {decision} {count} at once: {spent:.2f} s, {time.perf_counter() - clock:.2f} s on the clock", flush=True)


def measure_decisions(app: Flask, world: World, form_fill: FormFill, count: int) -> None:
    """Let so many items of somebody without rights be applied, and as many be discarded."""
    stranger = sign_in(app, world.user("stranger@example.com"))
    office = sign_in(app, world.user("office@example.com", "admin"))
    for decision in ("apply", "discard"):
        items = [edit(form_fill, str(uuid4())) for _ in range(count)]
        for start in range(0, count, SIZE):
            push(stranger, *items[start : start + SIZE])
        decide(app, office, decision, count)


def run(database: str, rounds: int, decisions: int) -> None:
    """Measure each kind of batch on a database, and decisions."""
    with empty(database) as app:
        world = World(app)
        owner, tech = world.user("owner@example.com", "user"), world.user()
        form_fill = world.form_fill(world.inspection(owner, tech))
        held = to_wire(form_fill.updated_at)
        client = sign_in(app, tech)
        push(sign_in(app, owner), edit(form_fill, "owner"))
        spare_application()

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
            processor, clock, kept, plain = measure(app, client, make, rounds)
            print(f"  {name:>14}: {processor:.3f} × {clock:.3f} × ({kept:.1f} ms to {plain:.1f} ms)", flush=True)
            remove_rows(app)
        measure_decisions(app, world, form_fill, decisions)


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--database", choices=DATABASES, action="append")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--decisions", type=int, default=1000)
    options = parser.parse_args()
    for database in options.database or DATABASES:
        run(database, options.rounds, options.decisions)


if __name__ == "__main__":
    main()
