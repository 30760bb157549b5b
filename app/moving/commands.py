"""`fieldpost move`: from SQLite to PostgreSQL and back, from files to an object storage and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
from flask import Flask
from sqlalchemy.exc import DBAPIError

from app import create_app
from app.attachments.storage import current_storage, open_storage
from app.cli.backup.archives import BackupError
from app.cli.data import described, with_data
from app.cli.failures import reported_failures
from app.clock import system_clock
from app.config import current_settings
from app.core.database.engine import close_connections, db
from app.errors import StartError
from app.moving.database import MoveError, move_database
from app.moving.files import move_files
from app.moving.tables import Told

#: The value of `--files` that means the data directory.
DIRECTORY = "directory"


@click.command("move")
@click.option("--to", "url", help="The database to move to, as for DATABASE_URL; it must be empty.")
@click.option("--files", help=f"The storage to move to, as for FIELDPOST_STORAGE; `{DIRECTORY}`: the data directory.")
@click.option("--leave", multiple=True, metavar="TABLE", help="Leave a table of a plugin that is gone behind.")
@with_data
def move_command(url: str | None, files: str | None, leave: Sequence[str]) -> None:
    """Copy the database, the stored files, or both to another place. Stop all servers first.

    The source stays as it is. A move that breaks off goes on when you run the same command again. At the end the copy
    has been compared with the source, and devices notice nothing but a feed that starts over.
    """
    if url is None and files is None:
        raise click.UsageError("Say --to, --files or both.")
    with _reported_failures(), _target(url, files) as target:
        if url is not None:
            _move_database(target, leave)
        if files is not None:
            count = move_files(current_storage(), open_storage(target.extensions["fieldpost.settings"]), _bar)
            click.echo(f"Copied {count} files.")
    _tell_next(url, files)


def _move_database(target: Flask, leave: Sequence[str]) -> None:
    _require_answer(target)
    counts = move_database(target, leave, _bar)
    with target.app_context():
        name = described(db.engine)
    click.echo(f"The {name} has {sum(counts.values())} rows in {len(counts)} tables, the same as the source.")


def _require_answer(target: Flask) -> None:
    """Raise `click.ClickException` unless the target's database can be reached."""
    try:
        with target.app_context(), db.engine.connect():
            pass
    except DBAPIError as error:
        reason = str(error.orig).splitlines()[0].rstrip(".")
        raise click.ClickException(f"The target does not answer: {reason}. Check its address and its server.") from None
    # It may turn out to be the source, to which nobody may be connected.
    close_connections(target)


@contextmanager
def _target(url: str | None, files: str | None) -> Iterator[Flask]:
    """The application that works with the target, and with the present one's key and plugins."""
    settings = current_settings()
    storage = settings.storage if files is None else files.removeprefix(DIRECTORY)
    overrides = {
        "DATABASE_URL": url or settings.database_url,
        "FIELDPOST_STORAGE": storage,
        "FIELDPOST_SECRET_KEY": settings.secret_key,
        "FIELDPOST_DATA_DIR": str(settings.data_dir),
    }
    try:
        target = create_app(overrides, system_clock, makes_data=False)
    except StartError as error:
        raise click.ClickException(f"The target cannot be used. {error}") from None
    try:
        yield target
    finally:
        close_connections(target)


def _tell_next(url: str | None, files: str | None) -> None:
    settings = current_settings()
    names = [name for name, value in (("DATABASE_URL", url), ("FIELDPOST_STORAGE", files)) if value is not None]
    click.echo(f"Next: set {' and '.join(names)} to the new place in the settings of every server.")
    if (settings.data_dir / "secret_key").exists():
        click.echo(
            f"Set FIELDPOST_SECRET_KEY to the content of {settings.data_dir / 'secret_key'} as well, so that everybody "
            "stays signed in."
        )
    click.echo("Then run `fieldpost check` and `fieldpost storage check`, and start. Start no server on the old place.")


@contextmanager
def _bar(name: str, length: int) -> Iterator[Told]:
    with click.progressbar(length=length, label=f"{name:10}", show_pos=True) as bar:
        yield bar.update


@contextmanager
def _reported_failures() -> Iterator[None]:
    with reported_failures():
        try:
            yield
        except (MoveError, BackupError) as error:
            raise click.ClickException(str(error)) from None
