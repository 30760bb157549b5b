"""`fieldpost backup`, `fieldpost restore` and `fieldpost new-history`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask.cli import with_appcontext

from app.cli.backup import BackupError, Manifest, begin_new_history, restore, verify
from app.cli.backup.places import place_named
from app.cli.data import described, with_data
from app.cli.failures import reported_failures
from app.config import current_settings
from app.core.database.engine import db
from app.core.done import note_done
from app.core.host.migrations import UPGRADE
from app.errors import ConfigurationError


class BackupGroup(click.Group):
    """`backup TARGET` makes a backup, and `backup verify SOURCE` looks at one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take an argument that is no command for a target. One of a command's name is written as `./verify`."""
        if args and args[0] not in (*self.commands, "--help"):
            args = ["make", *args]
        return super().parse_args(ctx, args)


@click.group("backup", cls=BackupGroup)
def backup_group() -> None:
    """Make backups, and look whether they are whole. `backup TARGET` means `backup make TARGET`."""


@backup_group.command("make")
@click.argument("target")
@click.option("--without-files", is_flag=True, help="Leave the photos out: the storage has backups of its own.")
@click.option(
    "--keep", type=click.IntRange(min=1), help="TARGET is a directory of backups, of which so many newest ones stay."
)
@with_data
def make_command(target: str, without_files: bool, keep: int | None) -> None:
    """Write database, photos and key to the directory TARGET, or the file if its name ends in .tar.

    TARGET may be in a bucket, too: s3://bucket/name.tar, or with --keep s3://bucket/prefix.
    """
    with _reported_failures(), _ended_in_order():
        place = place_named(target)
        name, manifest = place.make(with_files=not without_files, is_kept=keep is not None)
        note_done(current_settings().data_dir, "backup")
    click.echo(f"{name}: the {described(db.engine)}")
    _tell(manifest)
    if not manifest.with_key:
        click.echo("The key is not in it: it is set in FIELDPOST_SECRET_KEY. Keep it where you keep secrets.")
    if keep is not None:
        with _reported_failures():
            removed = place.prune(keep)
        for name in removed:
            click.echo(f"Removed {name}.")


@backup_group.command("verify")
@click.argument("source")
@with_appcontext
def verify_command(source: str) -> None:
    """Read the backup SOURCE as a whole and look for damage. Nothing is restored."""
    with _reported_failures(), place_named(source).opened() as path:
        manifest = verify(path)
    click.echo(f"{source}: whole, made at {manifest.made_at}")
    _tell(manifest)


def _tell(manifest: Manifest) -> None:
    """What a backup holds, in a line of numbers by which somebody can tell whether it is the right one."""
    rows = ", ".join(f"{count} {table.replace('_', ' ')}" for table, count in manifest.rows.items())
    click.echo(f"It holds {rows or 'rows that nobody counted'}; {_described(manifest)}.")


@click.command("restore")
@click.argument("source")
@click.option("--replace", is_flag=True, help="Lose what the database holds now.")
@with_appcontext
def restore_command(source: str, replace: bool) -> None:
    """Put a backup back. Stop all servers first; changes that were acknowledged after the backup are lost."""
    with _reported_failures(), place_named(source).opened() as path:
        manifest = restore(path, replace=replace)
    click.echo(f"Restored {_described(manifest)}, as of {manifest.made_at}.")
    click.echo(f"Devices start over; no id is given twice. Next: `{UPGRADE}`, `fieldpost storage check`, start.")


@click.command("new-history")
@with_data
def new_history_command() -> None:
    """After a recovery by other means than `restore`: expire all cursors, give no id twice. Stop all servers first."""
    with _reported_failures():
        begin_new_history()
    click.echo("A new history has begun: devices start over, and no id is given twice.")


def _described(manifest: Manifest) -> str:
    files = f"{manifest.files} files" if manifest.with_files else "no files"
    return f"the {manifest.database} database, {files}, {'the key' if manifest.with_key else 'no key'}"


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """In this block SIGTERM does what Ctrl-C does: nothing of an unfinished backup is left."""
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


@contextmanager
def _reported_failures() -> Iterator[None]:
    with reported_failures():
        try:
            yield
        except (BackupError, ConfigurationError) as error:
            raise click.ClickException(str(error)) from None
