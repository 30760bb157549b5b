"""The settings of an application: read from the environment, completed and checked.

`app.core.settings` lists them all. Of ours it imports only parts of the lowest floor.
"""

from __future__ import annotations

import dataclasses
import os
import re
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from flask import current_app
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.core.private_files import make_private_directory, write_private
from app.core.settings import Settings, environment_name, names_of_settings, parse_settings
from app.errors import ConfigurationError

__all__ = [
    "API_PREFIX",
    "Settings",
    "current_settings",
    "environment_name",
    "load_settings",
    "names_of_settings",
    "parse_settings",
]

#: The path below which the API stands (contract, section 0).
API_PREFIX = "/api/v1"

#: The checkout, or the environment that a wheel was installed in. The default data directory stands in it, so that
#: every command finds the server's, in whichever directory it was called.
SOURCE = Path(__file__).parent.parent
INSTALLATION = Path(sys.prefix) if (Path(__file__).parent / "_migrations").exists() else SOURCE

MINIMUM_KEY_BYTES = 32
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def current_settings() -> Settings:
    """The settings of the current application."""
    settings: Settings = current_app.extensions["fieldpost.settings"]
    return settings


def load_settings(environment: Mapping[str, str] | None = None, *, makes_data: bool = True) -> Settings:
    """The settings in `environment` (default: the process's), defaults filled in and all of them checked.

    Raises `ConfigurationError` that names the setting, the value and the cure. With `makes_data` it makes the data
    directory, and the signing key if none is set and only this machine uses it.
    """
    return _complete(parse_settings(environment), makes_data)


def _complete(settings: Settings, makes_data: bool) -> Settings:
    data_dir = (INSTALLATION / settings.data_dir).resolve()
    if makes_data:
        make_data_dir(data_dir)
    url = _database_url(settings.database_url, data_dir)
    shared = not url.startswith("sqlite") or settings.storage.startswith("s3://")
    key = settings.secret_key or _kept_key(data_dir, shared, makes_data)
    settings = dataclasses.replace(settings, data_dir=data_dir, database_url=url, secret_key=key)
    _check(settings)
    return dataclasses.replace(settings, log_level=settings.log_level.upper())


def make_data_dir(data_dir: Path) -> None:
    """Make the data directory if it is not there. Raises `ConfigurationError`."""
    try:
        make_private_directory(data_dir)
    except OSError as error:
        raise ConfigurationError(
            f"The data directory {data_dir} cannot be made: {error.strerror}. "
            "Make it, or set FIELDPOST_DATA_DIR to a directory that this user may write."
        ) from error


def _check(settings: Settings) -> None:
    for name in ("secret_key", "secret_key_previous", "metrics_token"):
        size = len(getattr(settings, name).encode())
        if 0 < size < MINIMUM_KEY_BYTES:
            raise ConfigurationError(
                f"{environment_name(name)} has {size} bytes; at least {MINIMUM_KEY_BYTES} are needed. "
                "Make one with `python -c 'import secrets; print(secrets.token_urlsafe(48))'`."
            )
    if settings.retry_days < settings.refresh_token_days:
        raise ConfigurationError(
            f"FIELDPOST_RETRY_DAYS={settings.retry_days} is shorter than FIELDPOST_REFRESH_TOKEN_DAYS="
            f"{settings.refresh_token_days}: a device could come back and apply its changes twice. Raise the former."
        )
    if settings.set_aside_days > settings.retry_days:
        raise ConfigurationError(
            f"FIELDPOST_SET_ASIDE_DAYS={settings.set_aside_days} is longer than FIELDPOST_RETRY_DAYS="
            f"{settings.retry_days}: an item could be decided that was applied before. Lower the former."
        )
    if settings.log_level.upper() not in LOG_LEVELS:
        raise ConfigurationError(
            f"FIELDPOST_LOG_LEVEL={settings.log_level!r} is unknown. Use DEBUG, INFO, WARNING or ERROR."
        )


def _database_url(url: str, data_dir: Path) -> str:
    """The SQLAlchemy URL; `postgres://` and `postgresql://` both mean psycopg 3."""
    if not url:
        return _sqlite_url(data_dir / "fieldpost.sqlite3")
    url = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")) or url in (
        "sqlite:///",
        "sqlite:///:memory:",
    ):
        raise ConfigurationError(
            "DATABASE_URL names a database that Fieldpost cannot use. "
            "Use `postgresql://user:password@host/name` or `sqlite:////absolute/path`, or unset it."
        )
    if url.startswith("sqlite:///") and not url.startswith("sqlite:////"):
        return f"{_sqlite_url(data_dir)}/{url.removeprefix('sqlite:///')}"
    _check_address(url, data_dir)
    return url


def _check_address(url: str, data_dir: Path) -> None:
    """Raise `ConfigurationError` if a database can never be at this address. It may quote no part of a password."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "DATABASE_URL cannot be read, perhaps because its port is no number. "
            "Write `postgresql://user:password@host:5432/name`."
        ) from None
    # The rest of a password with an @ in it is taken for a part of the host's name.
    if "@" in (address.host or ""):
        raise ConfigurationError(
            "DATABASE_URL has more than one @. If one is part of the password, write it as %40, and % as %25."
        )
    if address.query.get("target_session_attrs") == "read-write":
        raise ConfigurationError(
            "DATABASE_URL has target_session_attrs=read-write, which no host would ever satisfy: Fieldpost's "
            "connections are read only until a unit of work begins. Write target_session_attrs=primary."
        )
    path = Path(address.database or "")
    if address.drivername == "sqlite" and path.is_dir():
        raise ConfigurationError(f"DATABASE_URL names {path}, which is a directory. Write the path of a file in it.")
    if address.drivername == "sqlite" and path.parent != data_dir and not path.parent.is_dir():
        raise ConfigurationError(
            f"DATABASE_URL names a SQLite file in {path.parent}, which is no directory. "
            "Make that directory, or correct the path."
        )


def _sqlite_url(path: Path) -> str:
    """The URL of a file; its path may contain any characters."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def _kept_key(data_dir: Path, shared: bool, makes_data: bool) -> str:
    """The key in the data directory, made by the first server that asks for it.

    A command signs nothing, so before that it gets a key of its own.
    """
    if shared:
        raise ConfigurationError(
            "FIELDPOST_SECRET_KEY is not set, and with PostgreSQL or S3 every node would make its own, so that none "
            "would accept another's tokens. Set the same one on all nodes: "
            "`python -c 'import secrets; print(secrets.token_urlsafe(48))'`."
        )
    path = data_dir / "secret_key"
    try:
        if not path.exists():
            if not makes_data:
                return secrets.token_urlsafe(48)
            _make_key(path)
        return path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(
            f"The key {path} can be neither made nor read: {error.strerror}. "
            "Run this as the server's user, let this user write the data directory, or set "
            "FIELDPOST_DATA_DIR to another one."
        ) from error


def _make_key(path: Path) -> None:
    """Write the key under another name and link it into place, so that other processes see no file or a whole one."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        write_private(draft, secrets.token_urlsafe(48).encode())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
