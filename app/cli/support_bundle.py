"""`fieldpost support-bundle`: everything about a server that a helper from outside needs, in one ZIP file.

It has numbers and names, and neither rows nor secrets. Nothing that is wrong with the server stops it: a part that
cannot be asked has its error in place of its data.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import distributions, version
from pathlib import Path
from stat import filemode
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZipFile

import click
import orjson
from flask.cli import with_appcontext
from sqlalchemy import Table, func, literal, select

from app.administration.settings import (
    MASK,
    effective_settings,
    installed_plugins,
    installed_types,
    secrets_masker,
    unknown_settings,
)
from app.cli.check import DATABASE, FAILED, SETTINGS, Outcome, look_at_all
from app.cli.new_file import new_file
from app.clock import now, to_wire
from app.config import current_settings
from app.core.database import database_of
from app.core.database.engine import db
from app.core.host.endings import PREFIX
from app.core.host.migrations import all_chains
from app.core.host.registry import HANDLERS, PLUGINS, current_registry, entry_points_of
from app.core.values import JsonObject
from app.http.metrics import render_kept
from app.plugin_api import API_VERSION

#: Up to how many rows of a table are counted: a server in trouble has better things to do.
MOST_ROWS = 1_000_000

#: How many servers' numbers are taken, the latest: killed servers leave theirs behind.
MOST_SERVERS = 5

#: The part of a server that has failed if it does not start.
START = "start"

#: Variables that a server goes by.
NAME_OF_SETTING = re.compile(r"FIELDPOST_|AWS_|PG|(DATABASE_URL|HOST|PORT|WEB_CONCURRENCY|GUNICORN_CMD_ARGS|TMPDIR)$")

#: Not a mask and a host, which are left of an address with a password.
EMAIL = re.compile(r"[^\s@*\"'<>(),;:/]+@[^\s@*\"'<>(),;:/]+")


@click.command("support-bundle")
@click.argument("target", metavar="FILE.zip", type=click.Path(path_type=Path))
@with_appcontext
def support_bundle_command(target: Path) -> None:
    """Write versions, settings, checks and numbers of this server into a new ZIP file, for somebody who helps you.

    It has no secrets and no personal data, and is also written where the server does not start.
    """
    make_bundle(target, [])


def make_bundle(target: Path, faults: Sequence[str]) -> None:
    """Write the bundle into a new file, and say which parts of the server have failed.

    `faults`: why the server does not start. The application then has fewer settings and plugins than it should.
    """
    with new_file(target) as file:
        failed = write_bundle(file, faults)
    click.echo(f"{target} is written, without secrets and personal data. Look into it before you send it.")
    if failed:
        click.echo(f"Failed are: {', '.join(failed)}. `fieldpost check` says what to do.")


def write_bundle(file: BinaryIO, faults: Sequence[str]) -> list[str]:
    """Write the bundle. Returns the names of the parts of the server that have failed."""
    # The settings of a server that does not start are not all of them.
    looked_at = [outcome for outcome in look_at_all() if not (faults and outcome.part == SETTINGS)]
    outcomes = [*(Outcome(START, FAILED, fault) for fault in faults), *looked_at]
    failed = list(dict.fromkeys(outcome.part for outcome in outcomes if outcome.kind == FAILED))
    masked = secrets_masker()
    with ZipFile(file, "w", ZIP_DEFLATED) as bundle:
        for name, look in _members(outcomes, has_database=DATABASE not in failed, starts=not faults):
            text = orjson.dumps(_cleaned(_asked(look), masked), option=orjson.OPT_INDENT_2)
            bundle.writestr(f"{name}.json", text)
    return failed


def _members(outcomes: list[Outcome], *, has_database: bool, starts: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The files of the bundle, and how to get the data of each."""
    yield "about", lambda: {"made_at": to_wire(now()), "starts": starts, "database_answers": has_database}
    yield "check", lambda: [outcome._asdict() for outcome in outcomes]
    yield "versions", _versions
    yield "settings", _settings
    yield "environment", _environment
    yield "plugins", _plugins
    yield "entry_points", _entry_points
    yield "disk", _disk
    yield "metrics", _metrics
    if has_database:
        yield "database", _database
        yield "migrations", _migrations
        yield "rows", _rows


def _asked(look: Callable[[], Any]) -> Any:
    """The data, or the error in their place."""
    try:
        return look()
    except Exception as error:  # of the database, the system or a plugin
        # Of a database's error the first line: further ones may quote values.
        lines = str(getattr(error, "orig", error)).splitlines()
        return {"error": f"{type(error).__name__}: {lines[0] if lines else ''}"}


def _cleaned(value: Any, masked: Callable[[str], str]) -> Any:
    """The data as JSON values, with masks in place of secrets and e-mail addresses that texts may quote."""
    if isinstance(value, dict):
        return {str(key): _cleaned(part, masked) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(part, masked) for part in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return EMAIL.sub(MASK, masked(str(value)))


def _versions() -> JsonObject:
    return {
        "fieldpost": version("fieldpost"),
        "python": sys.version,
        "system": platform.platform(),
        "libraries": {library["Name"]: library["Version"] for library in (found.metadata for found in distributions())},
    }


def _settings() -> JsonObject:
    return {
        "effective": {setting.name: setting.value for setting in effective_settings()},
        "unknown": unknown_settings(),
    }


def _environment() -> JsonObject:
    """The names of the variables that are set, and how the file of settings is. No values."""
    path = current_settings().environment_file
    return {
        "variables": sorted(name for name in os.environ if NAME_OF_SETTING.match(name)),
        "file": {"path": path, "mode": _asked(lambda: filemode(path.stat().st_mode))},
    }


def _entry_points() -> list[str]:
    """What distributions state for Fieldpost, whether it can be loaded or not."""
    return [
        f"{entry.group}: {entry.name} = {entry.value} of {entry.dist and f'{entry.dist.name} {entry.dist.version}'}"
        for group in (HANDLERS, PLUGINS)
        for entry in entry_points_of(group)
    ]


def _plugins() -> JsonObject:
    return {
        "api_version": API_VERSION,
        "plugins": [plugin._asdict() for plugin in installed_plugins()],
        "types": [
            {"type": handler.type, "aliases": handler.aliases, "distribution": distribution, "version": release}
            for handler, distribution, release in installed_types()
        ],
        "effects": current_registry().reach,
    }


def _disk() -> JsonObject:
    """Bytes of the disks, and of the files of a SQLite database."""
    paths = (current_settings().data_dir, Path(tempfile.gettempdir()))
    files = database_of(db.engine).files(db.engine)
    return {
        "disks": {path: _asked(partial(_room, path)) for path in paths},
        "files": {path: path.stat().st_size for path in files if path.exists()},
    }


def _room(path: Path) -> JsonObject:
    usage = shutil.disk_usage(path)
    return {"total": usage.total, "free": usage.free}


def _metrics() -> JsonObject:
    """Directory -> the lines of `/metrics` about requests, of each server of this node that is within reach.

    A directory of somebody else than the owner of the data is none of a server's.
    """
    owner = current_settings().data_dir.stat().st_uid
    directories = [path for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*") if path.lstat().st_uid == owner]
    latest = sorted(directories, key=lambda path: path.lstat().st_mtime)[-MOST_SERVERS:]
    return {str(path): _asked(partial(_lines, path)) for path in latest}


def _lines(directory: Path) -> list[str]:
    lines = render_kept(directory).decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def _database() -> JsonObject:
    with db.engine.connect() as connection:
        dialect = connection.dialect
        name = database_of(connection).name
        return {"name": name, "driver": dialect.driver, "release": dialect.server_version_info}


def _migrations() -> JsonObject:
    """Chain -> the revisions that this release needs, and those that the database is at."""
    with db.engine.connect() as connection:
        return {
            chain.name: {"needed": sorted(chain.needed()), "present": sorted(chain.present(connection))}
            for chain in all_chains()
        }


def _rows() -> JsonObject:
    counts = {table.name: _asked(partial(_count, table)) for table in db.metadata.sorted_tables}
    return {"counted_up_to": MOST_ROWS, "tables": counts}


def _count(table: Table) -> int:
    some = select(literal(1)).select_from(table).limit(MOST_ROWS).subquery()
    with db.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(some)).scalar_one()
