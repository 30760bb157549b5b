"""The cost of keeping items that were not applied: batches of 100 in turns, with their rows kept and not kept.

    python benchmarks/set_aside.py [ROUNDS]

Uses the database of `DATABASE_URL`, which has to be empty, or a SQLite file in a directory of its own. Prints, for each
kind of batch, the median of the quotients of two neighbouring batches, in processor time of this process.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from flask.testing import FlaskClient

from app import create_app
from app.clock import to_wire
from app.core.database.write import Write
from app.core.sync import batch
from app.core.sync.attempt import Attempt
from app.models import FormFill
from app.testing import World, push, sign_in, upgrade

SIZE = 100


def nothing(_attempt: Attempt) -> Iterable[Write]:
    """What keeps no rows."""
    return ()


def edit(form_fill: FormFill, value: object, version: str | None = None) -> dict[str, Any]:
    """An item that changes one field."""
    data = {"id": form_fill.id, "changes": {"a": value}, "updated_at": version}
    return {"type": "form_fill", "local_id": str(uuid4()), "data": data}


def seconds(client: FlaskClient, items: list[dict[str, Any]]) -> float:
    """The processor time of a batch."""
    start = time.process_time()
    push(client, *items)
    return time.process_time() - start


def main(rounds: int) -> None:
    """Measure each kind of batch in turns."""
    with tempfile.TemporaryDirectory() as directory:
        app = create_app(
            {
                "FIELDPOST_DATA_DIR": directory,
                "DATABASE_URL": os.environ.get("DATABASE_URL", ""),
                "FIELDPOST_SECRET_KEY": "k" * 32,
                "FIELDPOST_LOG_LEVEL": "ERROR",
            }
        )
        with app.app_context():
            upgrade()
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
        for name, make in makers.items():
            quotients = []
            for number in range(rounds + 3):
                kept = seconds(client, make())
                with patch.object(batch, "set_aside", nothing):
                    plain = seconds(client, make())
                if number >= 3:
                    quotients.append(kept / plain)
            print(f"{name:>14}: {statistics.median(quotients):.3f} ×")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
