"""Errors of the application, and of the database, as the command line tells them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy.exc import DatabaseError, OperationalError, ProgrammingError

from app.core.host.migrations import UPGRADE
from app.errors import RequestError, StorageError

UNDEFINED_TABLE = "42P01"


@contextmanager
def told() -> Iterator[None]:
    """Turn a refusal into one sentence on standard error and exit code 1."""
    try:
        yield
    except RequestError as error:
        details = error.extra.get("details", {})
        reasons = "; ".join(f"{name}: {' '.join(messages)}" for name, messages in details.items())
        raise click.ClickException(f"{error.error}. {reasons or error.message}") from None
    except StorageError as error:
        raise click.ClickException(str(error)) from None
    except DatabaseError as error:
        if not _is_about_the_database(error):
            raise
        raise click.ClickException(
            f"The database did not do this: {str(error.orig).splitlines()[0]}. "
            f"Look whether DATABASE_URL names the right one, it can be reached, and `{UPGRADE}` was run."
        ) from None


def _is_about_the_database(error: DatabaseError) -> bool:
    """Whether it is not there, full, locked, without tables, or no database at all; else a bug of ours."""
    if isinstance(error, ProgrammingError):
        return getattr(error.orig, "sqlstate", None) == UNDEFINED_TABLE
    return isinstance(error, OperationalError) or type(error) is DatabaseError
