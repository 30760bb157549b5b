"""Errors of the application and of the database as messages of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy.exc import DatabaseError, OperationalError, ProgrammingError

from app.core.host.migrations import UPGRADE
from app.errors import RequestError, StartError, StorageError

UNDEFINED_TABLE = "42P01"

#: How SQLite's names of errors begin -> what to do.
OF_SQLITE = {
    ("SQLITE_FULL", "SQLITE_IOERR"): "Make room on its disk; if there is room, look into the system's log.",
    (
        "SQLITE_CANTOPEN",
        "SQLITE_READONLY",
    ): "Run this as the server's user, and let it write file and directory.",
    ("SQLITE_NOTADB", "SQLITE_CORRUPT"): "Move the file and its log out of the way, and restore a backup.",
}


@contextmanager
def reported_failures() -> Iterator[None]:
    """Turn an error into one sentence on standard error, and exit code 1. Bugs still show their traceback."""
    try:
        yield
    except RequestError as error:
        details = error.extra.get("details", {})
        # Each is a sentence by itself; the names before them are those of a body.
        reasons = " ".join(message for messages in details.values() for message in messages)
        raise click.ClickException(reasons or f"{error.error}. {error.message}") from None
    except (StartError, StorageError) as error:
        raise click.ClickException(str(error)) from None
    except DatabaseError as error:
        if not _is_about_the_database(error):
            raise
        reason = str(error.orig).splitlines()[0]
        raise click.ClickException(f"The database did not do this: {reason}. {_cure(error)}") from None


def _cure(error: DatabaseError) -> str:
    name: str | None = getattr(error.orig, "sqlite_errorname", None)
    for beginnings, cure in OF_SQLITE.items():
        if name is not None and name.startswith(beginnings):
            return cure
    # PostgreSQL gives a code to each answer. Without one there was no connection.
    if name is None and getattr(error.orig, "sqlstate", None) is None:
        return "Start PostgreSQL there, or correct host, port, name, user and password in DATABASE_URL."
    return f"Check that DATABASE_URL is right, that the database can be reached, and that `{UPGRADE}` was run."


def _is_about_the_database(error: DatabaseError) -> bool:
    """Whether the database is missing, full, locked, without tables, or none at all. Other errors are our bugs."""
    if isinstance(error, ProgrammingError):
        return getattr(error.orig, "sqlstate", None) == UNDEFINED_TABLE
    return isinstance(error, OperationalError) or type(error) is DatabaseError
