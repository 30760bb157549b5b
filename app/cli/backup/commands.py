"""`flask backup`, `flask restore` and `flask new-history`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from flask.cli import with_appcontext

from app.cli.backup import BackupError, Manifest, backup, begin_new_history, restore
from app.cli.failures import reported_failures
from app.core.host.migrations import UPGRADE

PATH = click.Path(path_type=Path)


@click.command("backup")
@click.argument("target", type=PATH)
@click.option("--without-files", is_flag=True, help="Leave the photos out: the storage has backups of its own.")
@with_appcontext
def backup_command(target: Path, without_files: bool) -> None:
    """Write database, photos and key to the directory TARGET, or the file if its name ends in .tar."""
    with _reported_failures():
        manifest = backup(target, with_files=not without_files)
    click.echo(f"{target}: {_described(manifest)}")
    if not manifest.with_key:
        click.echo("The key is not in it: it is set in FIELDPOST_SECRET_KEY. Keep it where you keep secrets.")


@click.command("restore")
@click.argument("source", type=PATH)
@click.option("--replace", is_flag=True, help="Lose what the database holds now.")
@with_appcontext
def restore_command(source: Path, replace: bool) -> None:
    """Put a backup back. Stop all servers first; changes that were acknowledged after the backup are lost."""
    with _reported_failures():
        manifest = restore(source, replace=replace)
    click.echo(f"Restored {_described(manifest)}, as of {manifest.made_at}.")
    click.echo(f"Devices start over; no id is given twice. Next: `{UPGRADE}`, `flask --app wsgi storage check`, start.")


@click.command("new-history")
@with_appcontext
def new_history_command() -> None:
    """After a recovery by other means than `restore`: expire all cursors, give no id twice. Stop all servers first."""
    with _reported_failures():
        begin_new_history()
    click.echo("A new history has begun: devices start over, and no id is given twice.")


def _described(manifest: Manifest) -> str:
    files = f"{manifest.files} files" if manifest.with_files else "no files"
    return f"the {manifest.database} database, {files}, {'the key' if manifest.with_key else 'no key'}"


@contextmanager
def _reported_failures() -> Iterator[None]:
    with reported_failures():
        try:
            yield
        except BackupError as error:
            raise click.ClickException(str(error)) from None
