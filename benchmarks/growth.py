"""Whether taking changes slows down as the database grows: the load of `load.py` in a database that has no rows but
its own, and in one that has 1000 times as many of each kind, and a photo for each form fill besides.

Both take turns; the ratio is the median of the rounds' ratios. The ledger of both grows by what is measured; of the
smaller one on PostgreSQL, the bytes that an operation takes in it are told, indexes included.

    python benchmarks/growth.py                        both databases
    python benchmarks/growth.py --database sqlite      one of them
    python benchmarks/growth.py --times 10             small and quick

Fails where a change takes more than 1.3 times as long.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from statistics import median

import sqlalchemy
from devices import devices
from load import CLIENTS, RECORDS, Contender, load, record
from server import Server, running_postgresql, running_server
from sqlalchemy import text

DATABASES = ("sqlite", "postgresql")
#: How many times as long a change may take.
FACTOR = 1.3

NOW = "'2024-03-15 10:30:00.000000'"
NUMBERS = "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :rows) SELECT"

#: Rows as the server would have written them, all of the administrator; ids are left to the database.
FILL = f"""
INSERT INTO form_templates (name, form_structure, created_at, updated_at) VALUES ('Sprinkler', '[]', {NOW}, {NOW});
INSERT INTO inspections (date, status, owner_id, created_at, updated_at)
    {NUMBERS} '2024-03-15', 'pending', users.id, {NOW}, {NOW} FROM numbers, users WHERE i <= :inspections;
INSERT INTO form_fills (inspection_id, form_template_id, data, created_at, updated_at)
    {NUMBERS} 1 + i % :inspections, 1, CAST(:data AS {{json}}), {NOW}, {NOW} FROM numbers;
INSERT INTO attachments (id, inspection_id, form_fill_id, kind, field_name, position, content_type, byte_size, width,
        height, sha256, storage_key, uploaded_by_id, data, created_at, updated_at)
    SELECT 'photo-' || id, inspection_id, id, 'photo', 'Riser', 1, 'image/jpeg', 1, 1, 1, 'sha-' || id, 'key-' || id,
        1, CAST(:empty AS {{json}}), {NOW}, {NOW} FROM form_fills;
INSERT INTO ledger_operations (unit_id, position, recorded_at, door, user_id, device_id, local_id, type, fingerprint,
        entity, entity_id, version_before, version_after, message)
    SELECT 'unit-' || id, 0, {NOW}, 'sync', 1, '', 'local-' || id, 'form_fill', 'print-' || id, 'form_fill',
        CAST(id AS VARCHAR(36)), {NOW}, {NOW}, 'FormFill updated successfully' FROM form_fills;
INSERT INTO ledger_entries (tag, unit_id, position, recorded_at, action, entity, entity_id, inspection_id,
        version_before, version_after, changes)
    SELECT id, 'unit-' || id, 0, {NOW}, 'change', 'form_fill', CAST(id AS VARCHAR(36)), inspection_id, {NOW}, {NOW},
        CAST(:changes AS {{json}}) FROM form_fills;
"""


def fill(server: Server, times: int) -> None:
    """Fill the empty database with so many times the rows that the load makes."""
    parameters = {
        "inspections": times * CLIENTS,
        "rows": times * CLIENTS * RECORDS,
        "data": json.dumps(record(0)),
        "empty": "{}",
        "changes": json.dumps({"Location": {"old": "Basement", "new": "Roof"}}),
    }
    engine = sqlalchemy.create_engine(server.database_url)
    is_postgresql = engine.dialect.name == "postgresql"
    with engine.begin() as connection:
        # SQLite's CAST … AS TEXT leaves it as it is.
        for statement in FILL.format(json="JSONB" if is_postgresql else "TEXT").strip().split(";\n"):
            connection.execute(text(statement), parameters)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # As autovacuum, and the next checkpoint, would have done after so many rows.
        connection.execute(text("VACUUM ANALYZE" if is_postgresql else "PRAGMA wal_checkpoint(TRUNCATE)"))
        if is_postgresql:
            connection.execute(text("CHECKPOINT"))
    engine.dispose()


def tell_ledger(database_url: str) -> None:
    """Print what an operation takes in the ledger, table by table."""
    engine = sqlalchemy.create_engine(database_url)
    with engine.connect() as connection:
        for table in ("ledger_operations", "ledger_entries"):
            size, rows = connection.execute(
                text(f"SELECT pg_total_relation_size('{table}'), count(*) FROM {table}")
            ).one()
            print(f"{table}: {size / rows:.0f} bytes a row, {rows:,} rows", flush=True)
    engine.dispose()


@contextmanager
def filled(database: str, times: int) -> Iterator[Contender]:
    """Fieldpost on a database with so many times the rows of the load, none if 0."""
    with (
        running_postgresql() if database == "postgresql" else nullcontext() as postgresql,
        running_server(postgresql=postgresql) as server,
    ):
        if times:
            fill(server, times)
        yield Contender(name=f"{times:,}", peers=devices(server), roots=[server.process_id])
        if postgresql and not times:
            tell_ledger(server.database_url)


def measure(database: str, times: int, batch: int, seconds: float, rounds: int) -> float:
    """How many times as long a change takes in the larger database; prints the rates."""
    with ExitStack() as stack:
        small, large = (stack.enter_context(filled(database, each)) for each in (0, times))
        for each in (small, large):
            load(each, batch, seconds)
        pairs = []
        for _ in range(rounds):
            pairs.append((load(small, batch, seconds).rate, load(large, batch, seconds).rate))
            time.sleep(1)
    ratios = sorted(few / many for few, many in pairs)
    rates = [median(each) for each in zip(*pairs, strict=True)]
    print(
        f"{database}: {rates[0]:,.0f} operations/s, {rates[1]:,.0f} with {times:,} times the rows: "
        f"x {median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})",
        flush=True,
    )
    return median(ratios)


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=DATABASES, help="one of them; both unless said")
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5, help="of one turn")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    databases = DATABASES if options.database is None else (options.database,)
    found = {each: measure(each, options.times, options.batch, options.seconds, options.rounds) for each in databases}
    sys.exit("\n".join(f"{name}: {each:.2f} times as long" for name, each in found.items() if each > FACTOR) or None)


if __name__ == "__main__":
    main()
