"""`fieldpost check`: everything that a server depends on, each with what to do about a fault."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from stat import S_IWUSR
from typing import NamedTuple

import click
from flask.cli import with_appcontext
from limits.errors import StorageError as StoreError
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from app.accounts.throttle import check_store
from app.api.health import ROOM
from app.attachments.room import bytes_of_site
from app.attachments.storage import current_storage
from app.cli.data import described, file_of, require_data
from app.config import current_settings
from app.core.database import database_of
from app.core.database.engine import db
from app.core.done import TASKS, done_at
from app.core.host.drift import find_drift
from app.core.host.migrations import UPGRADE, missing
from app.core.host.registry import current_registry
from app.core.private_files import is_open_to_others
from app.errors import StorageError
from app.models import LedgerEntry

#: How much the clocks of two machines may differ, in seconds; the least free part of a disk; how old a task may be.
SKEW, LEAST_FREE, OLDEST_DAYS = 2.0, 0.2, 2

SETTINGS, DIRECTORY, DATABASE = "settings", "data directory", "database"

#: What to do about a storage that cannot be written: a bucket, or files.
OF_BUCKET = "Correct FIELDPOST_STORAGE, FIELDPOST_S3_ENDPOINT or the AWS_ variables, or mend bucket and server."
OF_FILES = "Make room, or run this as the server's user."

#: How a part can be.
OK, LOOK_AT, FAILED = "ok", "look at", "FAILED"

logger = logging.getLogger(__name__)


class Fault(Exception):
    """Something that stops a server, or will. The message says what to do."""


class Doubt(Exception):
    """Something with which a server works, and which somebody should look at. The message says what to do."""


@dataclass(frozen=True)
class Part:
    """A part of a server: a name, and a function that returns a phrase about it or raises `Fault` or `Doubt`."""

    name: str
    look: Callable[[], str]
    #: The name of an earlier part; after its failure this one is not looked at.
    needs: str = ""


class Outcome(NamedTuple):
    """How a part is: `ok`, `look at` or `FAILED`, and a sentence or a phrase about it."""

    part: str
    kind: str
    sentence: str


@click.command("check")
@with_appcontext
def check_command() -> None:
    """Look at everything that the server depends on, and say what to do. Exits with 1 if something would stop it.

    It writes nothing but a small object to the storage, and removes it again.
    """
    is_failed = False
    for part, kind, sentence in look_at_all():
        click.echo(f"{kind:8}{part}: {sentence}")
        is_failed = is_failed or kind == FAILED
    if is_failed:
        sys.exit(1)


def look_at_all() -> Iterator[Outcome]:
    """How each part of the server is. A part that needs a failed one is left out, because that has been told."""
    failed: set[str] = set()
    for part in _parts():
        if part.needs not in failed:
            outcome = Outcome(part.name, *_looked(part))
            if outcome.kind == FAILED:
                failed.add(part.name)
            yield outcome


def _looked(part: Part) -> tuple[str, str]:
    try:
        return OK, part.look()
    except Doubt as doubt:
        return LOOK_AT, str(doubt)
    except (Fault, click.ClickException) as fault:
        return FAILED, getattr(fault, "message", None) or str(fault)
    except DBAPIError as error:
        return FAILED, f"{str(error.orig).splitlines()[0]}. Check DATABASE_URL and the database's own log."
    except Exception as error:
        # A part may be a plugin's and raise anything; the other parts are still worth a look.
        logger.exception("check failed", extra={"part": part.name})
        return FAILED, f"{type(error).__name__}: {error}"


def _parts() -> Iterator[Part]:
    settings = current_settings()
    yield Part(SETTINGS, _settings)
    yield Part(DIRECTORY, lambda: _directory(settings.data_dir))
    yield Part("files", lambda: _files(settings.data_dir), DIRECTORY)
    yield Part(DATABASE, _database)
    yield Part("migrations", _migrations, DATABASE)
    yield Part("tables", _tables, DATABASE)
    yield Part("plugins", _plugins)
    yield Part("storage", _storage, "" if settings.storage else DIRECTORY)
    if settings.site_storage_bytes:
        yield Part("room for photos", partial(_room, settings.site_storage_bytes), DATABASE)
    yield Part("failed sign-ins", _store)
    yield Part("clock", _clock, DATABASE)
    yield Part("disk", lambda: _disk(settings.data_dir), DIRECTORY)
    yield Part("temporary files", lambda: _disk(Path(tempfile.gettempdir())))
    if file_of(db.engine) is None:
        yield Part("backup", _programs)
    for task in TASKS:
        yield Part(f"last {task}", partial(_done, task), DATABASE)


def _settings() -> str:
    names = sorted(current_settings().unknown)
    plugins = [name for name in names if any(f"_{plugin.upper()}_" in name for plugin in current_registry().installed)]
    strange = sorted({*names} - {*plugins})
    if strange:
        raise Doubt(f"{', '.join(strange)} is no setting of Fieldpost or a plugin. Correct the name, or unset it.")
    return "complete; `fieldpost config` shows them"


def _directory(path: Path) -> str:
    if not path.is_dir():
        raise Fault(f"{path} is not there. Set FIELDPOST_DATA_DIR to the server's, or run `{UPGRADE}`.")
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise Fault(
            f"{path} cannot be written: {error.strerror}. Run this as the server's user, or `chown` it."
        ) from None
    if is_open_to_others(path):
        raise Doubt(f"{path} is open to other users of this machine. Run `chmod go-rwx` on it.")
    return str(path)


def _files(directory: Path) -> str:
    """Whether the server's user may write what the server keeps. Root may, and so looks in the place of that user."""
    owner = directory.stat().st_uid
    is_for_other = os.geteuid() == 0 and owner != 0
    stranger = next(
        (path for path in _kept_in(directory) if not _may_write(path, owner if is_for_other else None)), None
    )
    if stranger is not None:
        raise Fault(f"{stranger} cannot be written by the server's user. As root, `chown` it to that user.")
    if is_for_other:
        raise Doubt(
            f"root lacks no right, and so does not see all faults of user {owner}, the owner of {directory}. Run this "
            "as that user, too: `runuser -u USER -- fieldpost check`."
        )
    return "the server's user can write them"


def _kept_in(path: Path) -> Iterator[Path]:
    """What the server keeps, as far as it is there; of the stored files the directories on top."""
    files = path / "attachments"
    kept = [
        files,
        *(path / f"last_{task}" for task in TASKS),
        *database_of(db.engine).files(db.engine),
    ]
    yield from filter(Path.exists, kept)
    # Not all that is in there: it may be the top of a file system, with the system's own directories.
    with suppress(OSError):
        yield from files.glob("??")


def _may_write(path: Path, owner: int | None) -> bool:
    """Whether it is this user's to write; None: the one who asks."""
    if owner is None:
        return os.access(path, os.W_OK)
    status = path.stat()
    return status.st_uid == owner and bool(status.st_mode & S_IWUSR)


def _connected(look: Callable[[Connection], str]) -> str:
    """Ask something of the database, if it is one of Fieldpost's."""
    require_data()
    with db.engine.connect() as connection:
        return look(connection)


def _database() -> str:
    def look(connection: Connection) -> str:
        database_of(db.engine).check(connection)
        file = file_of(db.engine)
        if file is not None and not os.access(file, os.W_OK):
            raise Fault(f"{file} cannot be written. Run this as the server's user, or let that user write it.")
        numbers = ".".join(str(number) for number in connection.dialect.server_version_info or ())
        return f"{described(db.engine)}, release {numbers}"

    return _connected(look)


def _migrations() -> str:
    def look(connection: Connection) -> str:
        sentences = missing(connection)
        if sentences:
            raise Fault(f"{' '.join(sentences)} Run `{UPGRADE}`.")
        return "none is missing"

    return _connected(look)


def _tables() -> str:
    def look(connection: Connection) -> str:
        drifts = find_drift(connection)
        sentence = " ".join(map(str, drifts))
        if any(drift.is_fatal for drift in drifts):
            raise Fault(sentence)
        if drifts:
            raise Doubt(sentence)
        return "as the models say"

    return _connected(look)


def _plugins() -> str:
    # A fault in the settings themselves has stopped this command before.
    registry = current_registry()
    return f"{len(registry.handlers)} operation types of {len(registry.installed)} plugins"


def _storage() -> str:
    settings = current_settings()
    try:
        current_storage().check()
    except StorageError as error:
        raise Fault(f"{error} {OF_BUCKET if settings.storage else OF_FILES}") from None
    return settings.storage or f"files in {settings.data_dir}"


def _room(quota: int) -> str:
    used = f"{(share := bytes_of_site(db.session()) / quota):.0%} of FIELDPOST_SITE_STORAGE_BYTES is used"
    if share > 1 - LEAST_FREE:
        raise Doubt(f"{used}. Raise it, or see `fieldpost storage use`: a photo beyond it stays on its device.")
    return used


def _store() -> str:
    settings = current_settings()
    if settings.rate_limit_storage.startswith("memory:"):
        return (
            f"counted by each of {settings.web_concurrency} workers; set FIELDPOST_RATE_LIMIT_STORAGE on several nodes"
        )
    try:
        check_store()
    except StoreError:
        raise Fault(
            "the Redis of FIELDPOST_RATE_LIMIT_STORAGE does not answer, and nobody can sign in. Start it, or correct "
            "the address."
        ) from None
    return "counted in Redis"


def _clock() -> str:
    """Compared with the database's machine, or with the newest change, which cannot be later than now."""

    def look(connection: Connection) -> str:
        if file_of(db.engine) is None:
            there = connection.execute(select(func.clock_timestamp())).scalar_one()
            if abs(there.timestamp() - time.time()) > SKEW:
                raise Fault(f"the database's clock says {there:%H:%M:%S}. Keep both by NTP.")
        newest = connection.execute(select(LedgerEntry.recorded_at).order_by(LedgerEntry.id.desc()).limit(1)).scalar()
        if newest is not None and newest.timestamp() > time.time() + SKEW:
            raise Fault(f"the newest change is of {newest:%Y-%m-%d %H:%M:%S}, which is not yet. Keep the clock by NTP.")
        return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"

    return _connected(look)


def _disk(path: Path) -> str:
    usage = shutil.disk_usage(path)
    free = f"{usage.free / usage.total:.0%} of {path} is free"
    if usage.free < ROOM:
        raise Fault(f"{free}, and nothing can be written. Make room; nothing that was acknowledged is lost.")
    if usage.free < LEAST_FREE * usage.total:
        raise Doubt(f"{free}. Make room: a full disk stops all writing, and loses nothing.")
    return free


def _programs() -> str:
    absent = [name for name in ("pg_dump", "pg_restore") if shutil.which(name) is None]
    if absent:
        raise Doubt(
            f"{' and '.join(absent)} is not on the PATH. Install PostgreSQL's client programs, or back up by "
            "other means."
        )
    return "pg_dump and pg_restore are here"


def _done(task: str) -> str:
    moment = done_at(current_settings().data_dir, task)
    if moment is None:
        raise Doubt(f"never on this node. If no other node does it, let a timer run `fieldpost {task}` daily.")
    days = (time.time() - moment) / 86400
    if days > OLDEST_DAYS:
        raise Doubt(f"{days:.0f} days ago on this node. Look why the timer does not run it.")
    return f"{days * 24:.0f} hours ago"
