"""The guard of commands that work with data: nothing is done to a database that is not Fieldpost's, or not there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import click
from flask.cli import with_appcontext
from sqlalchemy import Engine, inspect, select

from app.accounts.emails import normalized_email
from app.cli.failures import reported_failures
from app.config import current_settings
from app.core.database import database_of
from app.core.database.engine import db
from app.core.host.migrations import UPGRADE
from app.core.ledger.state import require_history
from app.models import User

P = ParamSpec("P")
R = TypeVar("R")

#: Tables that every release has. Others may be missing, because a backup comes before `db upgrade`.
TABLES = {"users", "ledger_state"}


def with_data(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command with the application, and with a look at the database before anything is done."""

    @with_appcontext
    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        require_data()
        return command(*args, **kwargs)

    return guarded


def require_data() -> None:
    """Raise `click.ClickException` unless the settings name a database of Fieldpost's. Makes no file."""
    require_file()
    with reported_failures():
        tables = inspect(db.engine).get_table_names()
    if not set(tables) >= TABLES:
        raise click.ClickException(f"The {described(db.engine)} has no tables of Fieldpost's. {_advice()}")
    with reported_failures(), db.engine.connect() as connection:
        require_history(connection)


def require_file() -> None:
    """Raise `click.ClickException` if the database is a file that is not there: SQLite would make it."""
    file = file_of(db.engine)
    if file is not None and not file.is_file():
        raise click.ClickException(f"There is no {described(db.engine)}. {_advice()}")


def _advice() -> str:
    return (
        f"If this is not the server's database, give this command the server's settings: in its environment, or in "
        f"{current_settings().environment_file} for `fieldpost`. If it is to become one, run `{UPGRADE}`."
    )


def user_id_of(email: str) -> int:
    """The id of the user with this address. Raises `click.ClickException` if there is none."""
    user_id = db.session.scalar(select(User.id).where(User.email == normalized_email(email)))
    if user_id is None:
        raise click.ClickException(f"There is no user {email}. `users list` shows them all.")
    return user_id


def file_of(engine: Engine) -> Path | None:
    """The file of a SQLite database; None where the database is a server's."""
    return next(iter(database_of(engine).files(engine)), None)


def described(engine: Engine) -> str:
    """The database as a phrase, without user and password."""
    url = engine.url
    if file_of(engine) is not None:
        return f"SQLite database {url.database}"
    named = url.host or url.query.get("host") or "the local socket"
    hosts = named if isinstance(named, str) else " or ".join(named)
    # Without a name in the address, PostgreSQL takes the user's.
    return f"PostgreSQL database {url.database or url.username} at {hosts}" + (f":{url.port}" if url.port else "")
