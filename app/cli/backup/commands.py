"""`fieldpost backup`, `fieldpost restore` and `fieldpost new-history`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from flask.cli import with_appcontext

from app.cli.backup import BackupError, Manifest, backup, begin_new_history, restore, verify
from app.cli.data import described, with_data
from app.cli.failures import reported_failures
from app.clock import now
from app.config import current_settings
from app.core.database.engine import db
from app.core.done import note_done
from app.core.host.migrations import UPGRADE

PATH = click.Path(path_type=Path)

#: The name of a backup that `--keep` makes, by its time in UTC, and the pattern of these names.
NAME_OF_KEPT = "fieldpost-%Y%m%dT%H%M%SZ.tar"
KEPT = re.compile(r"fieldpost-\d{8}T\d{6}Z\.tar", re.ASCII)


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
@click.argument("target", type=PATH)
@click.option("--without-files", is_flag=True, help="Leave the photos out: the storage has backups of its own.")
@click.option(
    "--keep", type=click.IntRange(min=1), help="TARGET is a directory of backups, of which so many newest ones stay."
)
@with_data
def make_command(target: Path, without_files: bool, keep: int | None) -> None:
    """Write database, photos and key to the directory TARGET, or the file if its name ends in .tar."""
    if keep is not None and not target.is_dir():
        raise click.ClickException(f"{target} is no directory. Make it; with --keep it gets a file for each backup.")
    file = target if keep is None else target / f"{now():{NAME_OF_KEPT}}"
    with _reported_failures():
        manifest = backup(file, with_files=not without_files)
        note_done(current_settings().data_dir, "backup")
    click.echo(f"{file}: the {described(db.engine)}")
    _tell(manifest)
    if not manifest.with_key:
        click.echo("The key is not in it: it is set in FIELDPOST_SECRET_KEY. Keep it where you keep secrets.")
    for path in _superfluous(target, keep) if keep is not None else ():
        path.unlink()
        click.echo(f"Removed {path}.")


@backup_group.command("verify")
@click.argument("source", type=PATH)
def verify_command(source: Path) -> None:
    """Read the backup SOURCE as a whole and look for damage. Nothing is restored."""
    with _reported_failures():
        manifest = verify(source)
    click.echo(f"{source}: whole, made at {manifest.made_at}")
    _tell(manifest)


def _tell(manifest: Manifest) -> None:
    """What a backup holds, in a line of numbers by which somebody can tell whether it is the right one."""
    rows = ", ".join(f"{count} {table.replace('_', ' ')}" for table, count in manifest.rows.items())
    click.echo(f"It holds {rows or 'rows that nobody counted'}; {_described(manifest)}.")


def _superfluous(directory: Path, keep: int) -> list[Path]:
    """The backups that `--keep` has made in this directory, without the newest."""
    return sorted(path for path in directory.iterdir() if KEPT.fullmatch(path.name))[:-keep]


@click.command("restore")
@click.argument("source", type=PATH)
@click.option("--replace", is_flag=True, help="Lose what the database holds now.")
@with_appcontext
def restore_command(source: Path, replace: bool) -> None:
    """Put a backup back. Stop all servers first; changes that were acknowledged after the backup are lost."""
    with _reported_failures():
        manifest = restore(source, replace=replace)
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
def _reported_failures() -> Iterator[None]:
    with reported_failures():
        try:
            yield
        except BackupError as error:
            raise click.ClickException(str(error)) from None
