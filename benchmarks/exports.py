"""How long the tables of 100 000 inspections take to leave the console, and how much memory the worker takes for them.

    python benchmarks/exports.py                              both databases
    python benchmarks/exports.py --database sqlite            one of them
    python benchmarks/exports.py --database sqlite --inspections 500      small and quick
    python benchmarks/exports.py --only photos.zip --only report.pdf      some of the files

The database is that of `pages.py`: 3 form fills with one value each for each inspection, spread over two years. The
photos of the first inspections, `--photographed` of them, have bytes: each is a JPEG of about 300 KB. They leave as a
ZIP file, and 100 of them, all of one inspection, in its report. One worker of a real gunicorn answers an administrator.
Prints for each file its size, the seconds until its first byte and until its last one, and the worker's peak of memory
above idle in MiB, after a first small export, so that the modules that are loaded once do not count. A workbook holds
100 000 lines, so that the one of values is of the last 110 days. Fails where a file takes more than 60 MiB, or does
not come as a whole.
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
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

from feed import DATABASES, FORMS, fill
from pages import LAST_DAY, spread
from photos import MIB, jpeg
from processes import Memory
from server import ADMIN, Server, running_postgresql, running_server
from sqlalchemy import literal, select, text, update

from app import create_app
from app.attachments.storage.local import LocalStorage
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.models import Attachment, Inspection
from app.testing import PASSWORD

#: MiB above idle that a file may take.
MOST = 60

#: The customer of the inspections whose photos have bytes.
PHOTOGRAPHED = "Photographed"

#: Pictures of the report.
REPORTED = 100

#: The first day of the inspections whose values fit into a workbook.
FROM = LAST_DAY - dt.timedelta(days=110)

#: File -> its address below the console, and the query.
EXPORTS: dict[str, tuple[str, dict[str, Any]]] = {
    "inspections.csv": ("exports/inspections.csv", {}),
    "values.csv": ("exports/values.csv", {}),
    "inspections.xlsx": ("exports/inspections.xlsx", {}),
    "values.xlsx": ("exports/values.xlsx", {"date_from": FROM}),
    "photos.zip": ("exports/photos.zip", {"customer": PHOTOGRAPHED}),
    "report.pdf": ("inspections/1/report.pdf", {}),
}

#: Makes a file one of few lines, for all that the worker loads once.
WARM_UP = {"date_from": LAST_DAY}

#: Bytes that are read at a time.
PIECE = 2**16


class Download(NamedTuple):
    """A file that came as a whole."""

    megabytes: float
    first_byte: float
    seconds: float


@contextmanager
def filled_server(database: str, inspections: int, photographed: int) -> Iterator[Server]:
    """A server of one worker on a database with so many inspections and stored photos."""
    with (
        running_postgresql() if database == "postgresql" else nullcontext() as postgresql,
        running_server(workers=1, postgresql=postgresql) as server,
    ):
        fill_database(
            server.database_url, inspections, photographed, LocalStorage(server.data_directory / "attachments")
        )
        yield server


def fill_database(url: str, inspections: int, photographed: int, storage: LocalStorage) -> None:
    """Fill the database and the storage of a running server from this process."""
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
            photograph(photographed, storage)
            db.engine.dispose()


def photograph(photographed: int, storage: LocalStorage) -> None:
    """Give the photos of the first inspections, so many, their bytes; some of them move to the first one."""
    picture = jpeg((2000, 1500), 300_000)
    # The rows' own keys are none that a storage takes.
    key = literal("aa/") + Attachment.storage_key
    values = {"byte_size": len(picture), "width": 2000, "height": 1500, "storage_key": key}
    mine = Attachment.inspection_id <= photographed
    # The forms of the first inspection have all pictures of the report.
    form = Attachment.form_fill_id - 1
    gathered = {"inspection_id": 1, "form_fill_id": 1 + form % FORMS, "position": 1 + form // FORMS}
    with writing(db.engine) as connection:
        connection.execute(update(Attachment).where(mine).values(values))
        for stored in connection.scalars(select(Attachment.storage_key).where(mine)).all():
            storage.put(stored, picture)
        connection.execute(update(Attachment).where(mine, Attachment.form_fill_id <= REPORTED).values(gathered))
        named = update(Inspection).where(Inspection.id <= photographed).values(customer={"name": PHOTOGRAPHED})
        connection.execute(named)


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


def run(database: str, options: argparse.Namespace) -> list[str]:
    """Print what each file takes on a database; returns those that take too much memory."""
    heavy = []
    with filled_server(database, options.inspections, options.photographed) as server:
        console = f"http://127.0.0.1:{server.port}/console"
        browser = signed_in(f"http://127.0.0.1:{server.port}")
        for name in options.only:
            path, query = EXPORTS[name]
            download(browser, f"{console}/{path}?{urlencode(query | WARM_UP)}")
        print(
            f"{database}, {options.inspections} inspections: MiB, seconds to the first byte and in all, MiB above idle"
        )
        for name in options.only:
            path, query = EXPORTS[name]
            memory = Memory(server.worker_ids())
            file = download(browser, f"{console}/{path}?{urlencode(query)}")
            above = memory.above_idle()
            print(
                f"  {name:20} {file.megabytes:7.1f} {file.first_byte:7.2f} {file.seconds:7.2f} {above:7.1f}", flush=True
            )
            if above > MOST:
                heavy.append(f"{database}: {name}")
    return heavy


def main(arguments: Sequence[str] | None = None) -> int:
    """1 if a file takes too much memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=DATABASES, action="append")
    parser.add_argument("--inspections", type=int, default=100_000)
    parser.add_argument("--photographed", type=int, default=100)
    parser.add_argument("--only", choices=EXPORTS, action="append")
    options = parser.parse_args(arguments)
    options.only = options.only or [*EXPORTS]
    heavy = [file for name in options.database or DATABASES for file in run(name, options)]
    for file in heavy:
        print(f"more than {MOST} MiB above idle: {file}")
    return 1 if heavy else 0


if __name__ == "__main__":
    sys.exit(main())
