"""How long the tables of 100 000 inspections take to leave the console, and how much memory the worker takes for them.

    python benchmarks/exports.py                              both databases
    python benchmarks/exports.py --database sqlite            one of them
    python benchmarks/exports.py --database sqlite --inspections 500      small and quick

The database is that of `pages.py`: 3 form fills with one value each for each inspection, spread over two years. One
worker of a real gunicorn answers an administrator. Prints for each file its size, the seconds until its first byte and
until its last one, and the worker's peak of memory above idle in MiB, after a first small export, so that the modules
that are loaded once do not count. A workbook holds 100 000 lines, so that the one of values is of the last 200 days.
Fails where a file takes more than 60 MiB, or does not come as a whole.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from http.cookiejar import CookieJar
from typing import NamedTuple
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

from feed import DATABASES, fill
from pages import LAST_DAY, spread
from photos import MIB
from processes import Memory
from server import ADMIN, Server, running_postgresql, running_server
from sqlalchemy import text

from app import create_app
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.testing import PASSWORD

#: MiB above idle that a file may take.
MOST = 60

#: The first day of the inspections whose values fit into a workbook.
FROM = LAST_DAY - dt.timedelta(days=200)

EXPORTS = ("inspections.csv", "values.csv", "inspections.xlsx", f"values.xlsx?date_from={FROM}")

#: A file of few lines, for all that the worker loads once.
WARM_UP = f"date_from={LAST_DAY}"

#: Bytes that are read at a time.
PIECE = 2**16


class Download(NamedTuple):
    """A file that came as a whole."""

    megabytes: float
    first_byte: float
    seconds: float


@contextmanager
def filled_server(database: str, inspections: int) -> Iterator[Server]:
    """A server of one worker on a database with so many inspections."""
    with (
        running_postgresql() if database == "postgresql" else nullcontext() as postgresql,
        running_server(workers=1, postgresql=postgresql) as server,
    ):
        fill_database(server.database_url, inspections)
        yield server


def fill_database(url: str, inspections: int) -> None:
    """Fill the database of a running server from this process."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-exports-") as directory:
        environment = {
            "DATABASE_URL": url,
            "FIELDPOST_DATA_DIR": directory,
            "FIELDPOST_SECRET_KEY": secrets.token_urlsafe(48),
            "FIELDPOST_LOG_LEVEL": "WARNING",
            # Filling takes longer than any statement of the server should.
            "FIELDPOST_DATABASE_SECONDS": "300",
        }
        with create_app(environment).app_context():
            with writing(db.engine) as connection:
                # The rows bring an administrator with the same address.
                connection.execute(text("DELETE FROM users"))
            fill(inspections)
            spread()
            db.engine.dispose()


def signed_in(address: str) -> OpenerDirector:
    """A browser that the administrator has signed in with."""
    browser = build_opener(HTTPCookieProcessor(CookieJar()))
    page = browser.open(f"{address}/sign-in").read().decode()
    (token,) = re.findall(r'name="csrf_token" value="([^"]+)"', page)
    form = {"csrf_token": token, "email": ADMIN, "password": PASSWORD}
    browser.open(f"{address}/sign-in", urlencode(form).encode()).read()
    return browser


def download(browser: OpenerDirector, address: str) -> Download:
    """Read a file to its end. Raises `HTTPException` where it is cut off, and `HTTPError` where it is refused."""
    start = time.perf_counter()
    with browser.open(address) as answer:
        if "attachment" not in answer.headers.get("Content-Disposition", ""):
            raise RuntimeError(f"{address} is no file but {answer.url}.")
        size = len(answer.read(1))
        first_byte = time.perf_counter() - start
        while piece := answer.read(PIECE):
            size += len(piece)
    return Download(size / MIB, first_byte, time.perf_counter() - start)


def run(database: str, inspections: int) -> list[str]:
    """Print what each file takes on a database; returns those that take too much memory."""
    heavy = []
    with filled_server(database, inspections) as server:
        address = f"http://127.0.0.1:{server.port}"
        browser = signed_in(address)
        for name in EXPORTS:
            download(browser, f"{address}/console/exports/{name.partition('?')[0]}?{WARM_UP}")
        print(f"{database}, {inspections} inspections: MiB, seconds to the first byte and in all, MiB above idle")
        for name in EXPORTS:
            memory = Memory(server.worker_ids())
            file = download(browser, f"{address}/console/exports/{name}")
            above = memory.above_idle()
            print(
                f"  {name:40} {file.megabytes:7.1f} {file.first_byte:7.2f} {file.seconds:7.2f} {above:7.1f}",
                flush=True,
            )
            if above > MOST:
                heavy.append(f"{database}: {name}")
    return heavy


def main(arguments: Sequence[str] | None = None) -> int:
    """1 if a file takes too much memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=DATABASES, action="append")
    parser.add_argument("--inspections", type=int, default=100_000)
    options = parser.parse_args(arguments)
    heavy = [file for name in options.database or DATABASES for file in run(name, options.inspections)]
    for file in heavy:
        print(f"more than {MOST} MiB above idle: {file}")
    return 1 if heavy else 0


if __name__ == "__main__":
    sys.exit(main())
