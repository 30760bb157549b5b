"""What a page of the console costs with 100 000 inspections and 100 000 open items: processor time, and statements.

    python benchmarks/pages.py                              both databases
    python benchmarks/pages.py --database sqlite            one of them
    python benchmarks/pages.py --database sqlite --inspections 1000 --rounds 3      small and quick

The database is that of `feed.py`: 3 form fills, 3 photos and 10 rows of the ledger for each inspection. The inspections
are spread over two years, and work is left on one of ten. For each inspection, an item of a device waits for a
decision, and another one was settled later: nine of ten by a decision, the others by their devices. A million
operations of the last 30 days are counted. Prints for each page the milliseconds of processor time, how many of them
PostgreSQL's processes took, the milliseconds on the clock and the statements, for an administrator and for technicians
with 50 inspections, and of the pages on items also for the owner of all. Fails where a page takes more than 60 ms of
processor time.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import statistics
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from feed import DATABASES, OWN, database_processes, filled
from flask import Flask
from flask.testing import FlaskClient
from processes import cpu_seconds
from sqlalchemy import case, insert, text, update

from app.clock import now
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.core.sync.hours import COUNTS
from app.models import Inspection, SyncHour
from app.testing import PASSWORD, statements_of

#: Milliseconds of processor time that a page may take.
MOST = 60

#: Rounds that are not measured, unless fewer are measured.
WARM_UP = 3

WHO = ("admin@example.com", "technician0@example.com")

#: Of technicians, the first has items on each inspection, and the third has none.
WHO_DECIDES = (*WHO, "technician2@example.com", "owner@example.com")

LIST, ITEMS, CONFLICTS = "/console/inspections", "/console/set-aside", "/console/conflicts"

#: Every page that is measured, a subject a line.
PAGES = (
    *("/console/today", "/console/today/numbers"),
    *(LIST, f"{LIST}?after=50000", f"{LIST}?before=50000", f"{LIST}?sort=date", f"{LIST}?sort=latest_date"),
    *(f"{LIST}?status=open&sort=date&date_to=2024-12-01", f"{LIST}?status=completed", f"{LIST}?assignee_id=none"),
    *(f"{LIST}?owner_id=2", f"{LIST}?template_id=1", f"{LIST}?date_from=2024-03-20&date_to=2024-04-20"),
)

#: The pages on items that were not applied. One conflict's is not there for everybody.
ITEM_PAGES = (
    *(ITEMS, f"{ITEMS}?outcome=refused", f"{ITEMS}?type=form_fill&code=forbidden", f"{ITEMS}?state=all"),
    *(f"{ITEMS}?outcome=conflict", f"{ITEMS}?outcome=conflict&code=conflict&type=form_fill", f"{ITEMS}?code=unknown"),
    *(f"{ITEMS}?type=unknown", f"{ITEMS}?outcome=refused&type=unknown", f"{ITEMS}?state=all&type=unknown"),
    *(f"{ITEMS}?state=decided", f"{ITEMS}?state=superseded", f"{ITEMS}?state=superseded&type=unknown"),
    *(
        f"{ITEMS}?user_id=3",
        f"{ITEMS}?inspection_id=7",
        f"{ITEMS}?after=2024-03-10T10:30:00.000Z_x",
        "/console/counts",
    ),
    *(CONFLICTS, f"{CONFLICTS}?after=2024-03-10T10:30:00.000Z_x"),
)

#: An item of each of the last 24 days' minutes that waits, one in five a conflict, and one that was decided since. The
#: inspections of the third technician have none.
SET_ASIDE = f"""
INSERT INTO set_aside (id, user_id, device_id, local_id, fingerprint, type, position, outcome, code, error, message,
        retryable, entity, entity_id, inspection_id, item, is_cut, seen, seen_version, item_bytes, first_at, last_at,
        times, decision, decided_by_id, settled_at)
    SELECT state || '-' || i, CASE WHEN inspection_id <= :own THEN 3 + (inspection_id - 1) / {OWN} ELSE 2 END,
        'device-' || i % 40, 'item-' || i, 'fingerprint-' || i, 'form_fill', i % 100,
        CASE WHEN i % 5 = 0 THEN 'conflict' ELSE 'refused' END,
        CASE WHEN i % 5 = 0 THEN 'conflict' ELSE 'forbidden' END,
        'Not authorized to update this form', 'Ask for it', false, 'form_fill', CAST(i AS VARCHAR(36)), inspection_id,
        '{{"type" : "form_fill", "data" : {{"data" : {{"Location" : "Roof"}}}}}}', false,
        '{{"mine" : {{"Location" : "Roof"}}, "base" : null, "theirs" : {{"Location" : "Cellar"}}}}',
        CASE WHEN i % 5 = 0 THEN MOMENT END, 100, MOMENT, MOMENT, 3,
        CASE WHEN state = 'settled' AND i % 10 > 0 THEN 'applied' END,
        CASE WHEN state = 'settled' AND i % 10 > 0 THEN 1 END, CASE WHEN state = 'settled' THEN MOMENT END
    FROM (SELECT form_fills.id AS i, inspection_id FROM form_fills
            WHERE id <= :inspections AND inspection_id NOT BETWEEN :own - {OWN} + 1 AND :own) AS forms
        CROSS JOIN (SELECT 'open' AS state UNION ALL SELECT 'settled') AS states
"""

#: The moments of items, by the name of the database's dialect.
MOMENTS = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', '2024-03-01 00:00:00', "
    "(CASE state WHEN 'open' THEN 0 ELSE 40000 END + i % 34560) || ' minutes')",
    "postgresql": "TIMESTAMPTZ '2024-03-01 00:00:00Z' "
    "+ (CASE state WHEN 'open' THEN 0 ELSE 40000 END + i % 34560) * INTERVAL '1 minute'",
}

#: Pages for administrators alone.
ADMIN_PAGES = ("/console/sync-health?days=1", "/console/sync-health?days=30")

#: The parts of texts to search for, which no inspection has, one, 111, 11 111, or all: in the texts, and in names.
PARTS = (
    *("q=nowhere", "q=house+77777", "q=room+999", "q=room+9", "q=house", "q=neighbours"),
    *("customer=nowhere", "customer=mer+77777", "customer=customer"),
)

#: Each search in each order.
SEARCHES = tuple(f"{LIST}?{part}{order}" for part in PARTS for order in ("", "&sort=date", "&sort=latest_date"))

#: The texts of inspections, by which they can be found.
TEXTS = """
UPDATE inspections SET job = 'J-' || id, notes = 'The valve in room ' || id || ' was replaced. ' || :notes,
    property = CAST('{"property_name" : "House ' || id || '", "address" : "' || id || ' High Street", "city" : "Bath"}'
        AS JSON_TYPE),
    customer = CAST('{"name" : "Customer ' || id || '", "email" : "customer' || id || '@example.com"}' AS JSON_TYPE)
"""
NOTES = "The owner wants to be called before the next visit, and the key lies with the neighbours. " * 2

#: The counts of syncs: days, rows of an hour, and operations in all.
HOURS, ROWS_OF_HOUR, OPERATIONS = 30 * 24, 16, 1_000_000

#: The last of the days over which the inspections are spread.
LAST_DAY, DAYS = dt.date(2024, 12, 31), 700


def spread() -> None:
    """Give the inspections dates and statuses as they come about in years."""
    table = Inspection.__table__
    days = {number: LAST_DAY - dt.timedelta(days=number) for number in range(DAYS)}
    statuses = {0: "pending", 1: "in_progress"}
    values = {
        "date": case(days, value=table.c.id % DAYS),
        "status": case(statuses, value=table.c.id % 20, else_="completed"),
    }
    with writing(db.engine) as connection:
        connection.execute(update(table).values(values))


def describe() -> None:
    """Give the inspections the texts that people search in."""
    with writing(db.engine) as connection:
        kind = "JSONB" if connection.dialect.name == "postgresql" else "TEXT"
        connection.execute(text(TEXTS.replace("JSON_TYPE", kind)), {"notes": NOTES})


def count_hours() -> None:
    """The counts of a month of syncs, as batches have written them."""
    hour = now().replace(minute=0, second=0, microsecond=0)
    starts = [hour - dt.timedelta(hours=number) for number in range(HOURS)]
    counts = {**dict.fromkeys(COUNTS, 7), "applied": OPERATIONS // (HOURS * ROWS_OF_HOUR)}
    rows = [
        {"id": f"{start:%Y-%m-%dT%H}/{number:x}", "hour": start, **counts}
        for start in starts
        for number in range(ROWS_OF_HOUR)
    ]
    with writing(db.engine) as connection:
        connection.execute(insert(SyncHour), rows)


def set_aside(inspections: int) -> None:
    """Let items of devices wait for a decision, and as many be decided."""
    with writing(db.engine) as connection:
        statement = SET_ASIDE.replace("MOMENT", MOMENTS[connection.dialect.name])
        connection.execute(text(statement), {"inspections": inspections, "own": 3 * OWN})


def tidy() -> None:
    """What PostgreSQL does by itself after so many changes. SQLite does nothing of the kind."""
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("VACUUM ANALYZE"))
            # Otherwise what was filled is written to its files while the first pages are measured.
            connection.execute(text("CHECKPOINT"))


def signed_in(app: Flask, email: str) -> FlaskClient:
    """A browser that this person has signed in with."""
    client = app.test_client()
    (token,) = re.findall(r'name="csrf_token" value="([^"]+)"', client.get("/sign-in").text)
    client.post("/sign-in", data={"csrf_token": token, "email": email, "password": PASSWORD})
    return client


class Cost(NamedTuple):
    """What a page takes: milliseconds of processor time, of the server and of PostgreSQL, and on the clock."""

    server: float
    database: float
    clock: float
    statements: int

    @property
    def processor(self) -> float:
        """Of both together."""
        return self.server + self.database


def measure(client: FlaskClient, app: Flask, address: str, rounds: int) -> Cost:
    """The median cost of a page; PostgreSQL's processes tell their time so coarsely that theirs is the mean."""
    times, roots = [], database_processes(app)
    for _ in range(min(WARM_UP, rounds)):
        read(client, address)
    began = cpu_seconds(roots)
    for _ in range(rounds):
        times.append(read(client, address))
    database = 1000 * (cpu_seconds(roots) - began) / rounds
    server, clock = (statistics.median(column) for column in zip(*times, strict=True))
    with statements_of(app) as statements:
        client.get(address)
    return Cost(server, database, clock, len(statements))


def read(client: FlaskClient, address: str) -> tuple[float, float]:
    """The milliseconds of this process, and on the clock, that a page takes."""
    processor, clock = time.process_time(), time.perf_counter()
    answer = client.get(address)
    milliseconds = 1000 * (time.process_time() - processor), 1000 * (time.perf_counter() - clock)
    assert answer.status_code == 200, f"{address}: {answer.status_code} {answer.text[:500]}"
    return milliseconds


def addresses_for(email: str) -> tuple[str, ...]:
    """The pages that are measured for a person."""
    lists = (*PAGES, *SEARCHES) if email in WHO else ()
    return (*(ADMIN_PAGES if email == WHO[0] else ()), *lists, *ITEM_PAGES)


def run(database: str, inspections: int, rounds: int, only: str) -> list[str]:
    """Print the costs of pages with `only` in their addresses on a database; returns those that take too long."""
    slow = []
    with filled(database, inspections) as app:
        with app.app_context():
            spread()
            describe()
            count_hours()
            set_aside(inspections)
            tidy()
        print(
            f"{database}, {inspections} inspections: ms of processor time, PostgreSQL's part, on the clock, statements"
        )
        for email in WHO_DECIDES:
            client = signed_in(app, email)
            for address in (address for address in addresses_for(email) if only in address):
                cost = measure(client, app, address, rounds)
                print(
                    f"  {email.partition('@')[0]:12} {address:70} {cost.processor:7.1f} {cost.database:7.1f} "
                    f"{cost.clock:7.1f} {cost.statements:4}",
                    flush=True,
                )
                if cost.processor > MOST:
                    slow.append(f"{database}, {email}: {address}")
    return slow


def main(arguments: Sequence[str] | None = None) -> int:
    """1 if a page takes too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=DATABASES, action="append")
    parser.add_argument("--inspections", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="pages that have this in their addresses")
    options = parser.parse_args(arguments)
    counts = (options.inspections, options.rounds, options.only)
    slow = [page for name in options.database or DATABASES for page in run(name, *counts)]
    for page in slow:
        print(f"more than {MOST} ms: {page}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
