"""What a page of the console costs with 100 000 inspections: processor time of the server's process, and statements.

    python benchmarks/pages.py                              both databases
    python benchmarks/pages.py --database sqlite            one of them
    python benchmarks/pages.py --database sqlite --inspections 1000 --rounds 3      small and quick

The database is that of `feed.py`: 3 form fills, 3 photos and 10 rows of the ledger for each inspection. The inspections
are spread over two years, and work is left on one of ten. Prints the milliseconds of processor time and the statements
of each page, for an administrator and for a technician with 50 inspections. On PostgreSQL the time of the database's
own processes is not in it, so that the time on the clock stands beside it. Fails where a page takes more than 60 ms of
processor time, searches of texts aside, which read all.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import statistics
import sys
import time
from collections.abc import Sequence

from feed import DATABASES, filled
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import case, update

from app.core.database.engine import db
from app.core.database.transactions import writing
from app.models import Inspection
from app.testing import PASSWORD, statements_of

#: Milliseconds of processor time that a page may take.
MOST = 60

#: Rounds that are not measured.
WARM_UP = 3

WHO = ("admin@example.com", "technician0@example.com")

LIST = "/console/inspections"

#: Every page that is measured, a subject a line.
PAGES = (
    *("/console/today", "/console/today/numbers"),
    *(LIST, f"{LIST}?after=50000", f"{LIST}?before=50000", f"{LIST}?sort=date", f"{LIST}?sort=latest_date"),
    *(f"{LIST}?status=open&sort=date&date_to=2024-12-01", f"{LIST}?status=completed", f"{LIST}?assignee_id=none"),
    *(f"{LIST}?owner_id=2", f"{LIST}?template_id=1", f"{LIST}?date_from=2024-03-20&date_to=2024-04-20"),
)

#: Pages that search in texts, and so read all rows that nothing but the text leaves out.
SEARCHES = (f"{LIST}?q=nowhere", f"{LIST}?customer=nowhere")

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


def signed_in(app: Flask, email: str) -> FlaskClient:
    """A browser that this person has signed in with."""
    client = app.test_client()
    (token,) = re.findall(r'name="csrf_token" value="([^"]+)"', client.get("/sign-in").text)
    client.post("/sign-in", data={"csrf_token": token, "email": email, "password": PASSWORD})
    return client


def measure(client: FlaskClient, app: Flask, address: str, rounds: int) -> tuple[float, float, int]:
    """The median milliseconds of processor time and on the clock, and the statements, of a page."""
    processor, clock = [], []
    for number in range(WARM_UP + rounds):
        began = time.process_time(), time.perf_counter()
        answer = client.get(address)
        ended = time.process_time(), time.perf_counter()
        assert answer.status_code == 200, f"{address}: {answer.status_code} {answer.text[:500]}"
        if number >= WARM_UP:
            processor.append(1000 * (ended[0] - began[0]))
            clock.append(1000 * (ended[1] - began[1]))
    with statements_of(app) as statements:
        client.get(address)
    return statistics.median(processor), statistics.median(clock), len(statements)


def run(database: str, inspections: int, rounds: int) -> list[str]:
    """Print the costs of all pages on a database; returns those that take too long."""
    slow = []
    with filled(database, inspections) as app:
        with app.app_context():
            spread()
        print(f"{database}, {inspections} inspections: ms of processor time, ms on the clock, statements")
        for email in WHO:
            client = signed_in(app, email)
            for address in (*PAGES, *SEARCHES):
                processor, clock, statements = measure(client, app, address, rounds)
                print(
                    f"  {email.partition('@')[0]:12} {address:70} {processor:7.1f} {clock:7.1f} {statements:4}",
                    flush=True,
                )
                if processor > MOST and address in PAGES:
                    slow.append(f"{database}, {email}: {address}")
    return slow


def main(arguments: Sequence[str] | None = None) -> int:
    """1 if a page takes too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=DATABASES, action="append")
    parser.add_argument("--inspections", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args(arguments)
    slow = [page for name in options.database or DATABASES for page in run(name, options.inspections, options.rounds)]
    for page in slow:
        print(f"more than {MOST} ms: {page}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
