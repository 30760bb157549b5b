"""What a page of the change feed costs in a small and in a large database, and which plans the databases choose.

A page of 500 changes must not take more than twice as long where there is a hundred times as much: for an
administrator, for whoever owns everything, and for technicians with 50 inspections, wherever in the ledger they stand.

    python benchmarks/feed.py                              both databases, 1 000 and 100 000 inspections
    python benchmarks/feed.py --database sqlite            one of them
    python benchmarks/feed.py --database sqlite --sizes 1000 2000 --rounds 5    small and quick; of tables as small as
                                                           these PostgreSQL rightly reads all

There are 3 form fills, 3 photos and 10 rows of the ledger for each inspection. Prints the milliseconds of each page
and the plans of its queries; fails where a page takes longer than that, or where a plan reads one of the large tables
from end to end.
"""

from __future__ import annotations

import argparse
import re
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import psutil
from flask import Flask
from flask.testing import FlaskClient
from server import running_postgresql
from sqlalchemy import Connection, event, select, text

from app import create_app
from app.core.database.engine import db
from app.core.database.read import Read
from app.core.database.transactions import writing
from app.core.host.migrations import upgrade
from app.feed.cursor import Mark, write_cursor
from app.feed.position import snapshot_text, start_cursor
from app.models import LedgerEntry, User
from app.testing import PASSWORD_HASH, sign_in

DATABASES = ("sqlite", "postgresql")
PAGE = 500
#: Rounds that are not measured: until caches are warm, and statements prepared.
WARM_UP = 7
#: How much longer a page may take in the large database.
FACTOR = 2

#: Technicians with 50 inspections of 10 form fills each. The last changes of all are the first's; the second's are
#: spread over the whole ledger; nothing ever happened to the third's.
TECHNICIANS, OWN, FORMS = 3, 50, 10
LARGE = ("inspections", "form_fills", "attachments", "ledger_entries")

#: Lists of ids and columns, of which the first few tell enough.
SHORTENED = re.compile(r"(?<=.{160}).+", re.MULTILINE)

ROWS = (
    "WITH RECURSIVE numbers(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM numbers WHERE i < :rows) SELECT"
)
TIMES = "'2024-03-15 10:30:00.000000', '2024-03-15 10:30:00.000000'"

#: Rows as the server would have written them, made inside the database. User 1 is the administrator, 2 owns all.
FILL = f"""
INSERT INTO users (id, email, name, role, active, password_hash, created_at, updated_at) VALUES
    (1, 'admin@example.com', 'Admin', 'admin', true, :password, {TIMES}),
    (2, 'owner@example.com', 'Owner', 'user', true, :password, {TIMES}),
    (3, 'technician0@example.com', 'Technician', 'technician', true, :password, {TIMES}),
    (4, 'technician1@example.com', 'Technician', 'technician', true, :password, {TIMES}),
    (5, 'technician2@example.com', 'Technician', 'technician', true, :password, {TIMES});
INSERT INTO form_templates (id, name, form_structure, created_at, updated_at)
    VALUES (1, 'Sprinkler', '[{{"name" : "Location", "type" : "text"}}]', {TIMES});
INSERT INTO inspections (id, date, status, form_template_id, owner_id, assignee_id, created_at, updated_at)
    {ROWS} i, '2024-03-20', 'pending', 1, 2, CASE WHEN i <= :own THEN 3 + (i - 1) / {OWN} END, {TIMES} FROM numbers;
INSERT INTO form_fills (id, form_template_id, data, inspection_id, created_at, updated_at)
    {ROWS} i, 1, '{{"Location" : "{"Roof " * 40}"}}',
        CASE WHEN i <= :forms THEN 1 + (i - 1) / {FORMS} ELSE :own + 1 + i % (:inspections - :own) END, {TIMES}
    FROM numbers;
INSERT INTO attachments (id, inspection_id, form_fill_id, kind, field_name, position, content_type, byte_size, width,
        height, sha256, storage_key, uploaded_by_id, data, created_at, updated_at)
    SELECT 'photo-' || id, inspection_id, id, 'photo', 'Riser', 1, 'image/jpeg', 1, 1, 1, 'sha-' || id, 'key-' || id, 2,
        '{{}}', {TIMES} FROM form_fills ORDER BY id;
INSERT INTO ledger_entries (xid, tag, unit_id, position, recorded_at, version_before, version_after, action, entity,
        entity_id, inspection_id, changes)
    SELECT :transactions * i / :rows, i, 'unit', 0, '2024-03-15 10:30:00.000000', {TIMES}, 'change', 'form_fill',
        CAST(id AS VARCHAR(36)), inspection_id, '{{"Location" : {{"old" : "Basement", "new" : "Roof"}}}}'
    FROM ({ROWS} i, CASE
            WHEN i > :rows - {PAGE} THEN i - :rows + {PAGE}
            WHEN i % (:rows / {PAGE} - 1) = 0 THEN {PAGE} + i / (:rows / {PAGE} - 1)
            ELSE :forms + 1 + (7919 * i) % (:form_fills - :forms)
        END AS form_fill FROM numbers) AS made JOIN form_fills ON id = form_fill ORDER BY i;
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A page that is measured."""

    name: str
    email: str
    #: How many changes the page has.
    changes: int
    #: How many rows before the ledger's end the cursor stands; None: before its beginning.
    behind: int | None = None
    #: Whether the tables are walked; and from behind which row of which entity on.
    is_walk: bool = False
    stage: str | None = None
    after: Any = None


CASES = (
    Case(name="administrator: the last 500", email="admin@example.com", behind=PAGE, changes=PAGE),
    Case(name="administrator: from the beginning", email="admin@example.com", changes=PAGE),
    Case(name="owner of all: the last 500", email="owner@example.com", behind=PAGE, changes=PAGE),
    Case(name="owner of all: from the beginning", email="owner@example.com", changes=PAGE),
    Case(name="technician: the last 500", email="technician0@example.com", behind=PAGE, changes=PAGE),
    Case(name="technician: 500 among all", email="technician1@example.com", changes=PAGE),
    Case(name="technician: nothing among all", email="technician2@example.com", changes=0),
    *(
        Case(
            name=f"{who}: a walk {verb}",
            email=email,
            changes=changes,
            is_walk=True,
            stage=stage,
            after=after,
        )
        for who, email, changes in (
            ("administrator", "admin@example.com", PAGE),
            ("owner of all", "owner@example.com", PAGE),
            ("technician", "technician0@example.com", PAGE),
        )
        for verb, stage, after in (
            ("begins", None, None),
            ("in form fills", "form_fill", 1),
            ("in photos", "attachment", ""),
        )
    ),
)


def fill(inspections: int) -> None:
    """Fill the empty database; returns when the rows can be read by everybody."""
    own = TECHNICIANS * OWN
    form_fills, entries = 3 * inspections, 10 * inspections
    counts = {"inspections": inspections, "form_fills": form_fills, "ledger_entries": entries}
    is_postgresql = db.engine.dialect.name == "postgresql"
    parameters = {
        "own": own,
        "forms": own * FORMS,
        "inspections": inspections,
        "form_fills": form_fills,
        # As if PostgreSQL had given them one after the other; all lie below those that a new cluster begins with.
        "transactions": 500 if is_postgresql else 0,
        "password": PASSWORD_HASH,
    }
    with writing(db.engine) as connection:
        for statement in FILL.strip().split(";\n"):
            table = statement.split()[2]
            connection.execute(text(statement), {**parameters, "rows": counts.get(table, 0)})
    if is_postgresql:
        # As autovacuum does after so many changes.
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


@contextmanager
def filled(database: str, inspections: int) -> Iterator[Flask]:
    """An application on a database with so many inspections, for as long as the block lasts."""
    with empty(database) as app:
        with app.app_context():
            fill(inspections)
        yield app


@contextmanager
def empty(database: str) -> Iterator[Flask]:
    """An application on a migrated, empty database, for as long as the block lasts."""
    with (
        running_postgresql() if database == "postgresql" else nullcontext() as postgresql,
        tempfile.TemporaryDirectory(prefix="fieldpost-feed-") as directory,
    ):
        environment = {
            "DATABASE_URL": postgresql.url if postgresql else "",
            "FIELDPOST_DATA_DIR": directory,
            "FIELDPOST_SECRET_KEY": secrets.token_urlsafe(48),
            "FIELDPOST_LOG_LEVEL": "ERROR",
            # Filling takes longer than any statement of the server should.
            "FIELDPOST_DATABASE_SECONDS": "300",
        }
        app = create_app(environment)
        with app.app_context():
            upgrade()
        try:
            yield app
        finally:
            with app.app_context():
                db.session.remove()
                db.engine.dispose()


def database_processes(app: Flask) -> list[int]:
    """PostgreSQL's first process, below which all others are; none for SQLite, which has no processes."""
    with app.app_context(), db.engine.connect() as connection:
        if connection.dialect.name != "postgresql":
            return []
        return [psutil.Process(connection.scalar(text("SELECT pg_backend_pid()"))).ppid()]


def address(app: Flask, case: Case) -> str:
    """Where the case's page is asked for."""
    if case.is_walk and case.stage is None:
        return f"/api/v1/sync/changes?limit={PAGE}"
    with app.app_context():
        session = db.session()
        user = session.scalars(select(User).where(User.email == case.email)).one()
        cursor = start_cursor(session, user)
        if case.is_walk:
            snapshot = snapshot_text(session)
            cursor = replace(cursor, is_walk=True, stage=case.stage, after=case.after, snapshot=snapshot)
        else:
            cursor = replace(cursor, mark=_mark(session, case.behind))
        return f"/api/v1/sync/changes?limit={PAGE}&cursor={quote(write_cursor(cursor))}"


def _mark(session: Any, behind: int | None) -> Mark:
    if behind is None:
        return Mark()
    row = select(LedgerEntry.xid, LedgerEntry.id, LedgerEntry.tag).order_by(LedgerEntry.id.desc()).offset(behind)
    found = session.execute(row.limit(1)).one()
    return Mark(xid=found.xid, id=found.id, tag=found.tag)


def client_of(app: Flask, case: Case) -> FlaskClient:
    """A client that is signed in as the case's user."""
    with app.app_context():
        user = db.session.scalars(select(User).where(User.email == case.email)).one()
        db.session.expunge_all()
    return sign_in(app, user)


def read(client: FlaskClient, url: str, case: Case) -> float:
    """Milliseconds that the page takes, after a look at what is in it."""
    start = time.perf_counter()
    answer = client.get(url)
    milliseconds = (time.perf_counter() - start) * 1000
    changes = (answer.json or {}).get("data", {}).get("changes", ())
    if len(changes) != case.changes:
        raise RuntimeError(f"{case.name}: {len(changes)} changes instead of {case.changes}: {answer.text[:300]}")
    return milliseconds


def plans_of(app: Flask, client: FlaskClient, url: str, case: Case) -> dict[str, str]:
    """The plan of each query that the page sends to a large table, by its statement."""
    sent: dict[str, Any] = {}

    def listen(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        # Fixed statements go straight to the driver, several in the place of one.
        reads = getattr(parameters, "reads", None)
        statements = [(statement, parameters)] if reads is None else [_compiled(query, connection) for query in reads]
        for query, values in statements:
            if any(f"FROM {table}" in query or f"JOIN {table}" in query for table in LARGE):
                sent[query] = values

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", listen)
    try:
        read(client, url, case)
    finally:
        event.remove(engine, "before_cursor_execute", listen)
    with engine.connect() as connection:
        return {statement: _explain(connection, statement, parameters) for statement, parameters in sent.items()}


def _compiled(query: Read, connection: Connection) -> tuple[str, Any]:
    """The text of a query and its parameters, as SQLAlchemy gives them to the driver."""
    compiled: Any = query.statement.compile(dialect=connection.dialect)
    values = compiled.params | query.parameters
    return str(compiled), tuple(values[name] for name in compiled.positiontup) if compiled.positional else values


def _explain(connection: Connection, statement: str, parameters: Any) -> str:
    command = "EXPLAIN " if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
    rows = connection.exec_driver_sql(command + statement, parameters)
    return "\n".join(str(row[-1]) for row in rows)


def scans_in(plan: str) -> list[str]:
    """The steps of a plan that read a large table, or the whole of one of its indexes, from end to end."""
    signs = [f"Seq Scan on {table}" for table in LARGE] + [f"SCAN {table}" for table in LARGE]
    lines = plan.splitlines()
    # A scan right below a limit ends with it.
    steps = [line for above, line in zip(["", *lines], lines, strict=False) if "Limit" not in above]
    return [step.strip() for step in steps if any(sign in step for sign in signs)]


def measure(database: str, sizes: Sequence[int], rounds: int) -> list[str]:
    """Measure each case in databases of all sizes, in turns, so that a noisy machine is noisy for all; the faults."""
    print(f"{database}: milliseconds with {', '.join(f'{each:,}' for each in sizes)} inspections")
    faults, plans = [], []
    with ExitStack() as stack:
        apps = [stack.enter_context(filled(database, each)) for each in sizes]
        for case in CASES:
            pages = [(client_of(app, case), address(app, case)) for app in apps]
            warm_up = min(WARM_UP, rounds)
            times = [[read(client, url, case) for client, url in pages] for _ in range(rounds + warm_up)][warm_up:]
            found = [statistics.median(each) for each in zip(*times, strict=True)]
            print(f"  {case.name:36} {' '.join(f'{each:8.1f}' for each in found)}   x {found[-1] / found[0]:.2f}")
            if found[-1] > FACTOR * found[0]:
                faults.append(f"{case.name}: {found[-1] / found[0]:.1f} times as long")
            for statement, plan in plans_of(apps[-1], *pages[-1], case).items():
                plans.append(f"-- {case.name}\n{SHORTENED.sub('…', statement)}\n\n{SHORTENED.sub('…', plan)}\n")
                # Where a walk begins, SQLite calls it a scan to read the first rows in order.
                if case.stage is not None or not case.is_walk:
                    faults += [f"{case.name}: {step}" for step in scans_in(plan)]
    print("", *plans, sep="\n")
    return [f"{database}, {each}" for each in faults]


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--database", choices=DATABASES, help="one of them; both unless said")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 100_000], help="inspections; from 1000, even")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    databases = DATABASES if arguments.database is None else (arguments.database,)
    faults = [fault for each in databases for fault in measure(each, sorted(arguments.sizes), arguments.rounds)]
    sys.exit("\n".join(faults) or None)


if __name__ == "__main__":
    main()
