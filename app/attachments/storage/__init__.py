"""The storage of the bytes of photos and signatures."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from flask import current_app

from app.attachments.storage.local import LocalStorage
from app.attachments.storage.protocol import Draft, LinkingStorage, MissingObjectError, Storage, StoredObject
from app.config import Settings
from app.errors import ConfigurationError

__all__ = [
    "Draft",
    "LinkingStorage",
    "MissingObjectError",
    "Storage",
    "StoredObject",
    "current_storage",
    "open_storage",
    "s3_module",
]

#: The packages that `app.attachments.storage.s3` needs, which come with the extra `s3`.
S3_PACKAGES = {"boto3", "botocore", "urllib3"}


def open_storage(settings: Settings) -> Storage:
    """The storage that the settings name. Raises `ConfigurationError`."""
    if not settings.storage:
        return LocalStorage(settings.data_dir / "attachments")
    if settings.storage.startswith("s3://"):
        return _open_bucket(settings)
    raise ConfigurationError(
        f"FIELDPOST_STORAGE={settings.storage!r} names no storage that Fieldpost knows. "
        "Leave it empty: files are then kept in the data directory. Or name a bucket: `s3://bucket/prefix`."
    )


def _open_bucket(settings: Settings) -> Storage:
    """The storage in a bucket."""
    opened: Storage = s3_module("app.attachments.storage.s3", settings.storage).open_bucket(settings)
    return opened


def s3_module(name: str, address: str) -> ModuleType:
    """A module that works with a bucket. It is imported only here, because boto3 is an extra and takes time to load.

    Raises `ConfigurationError` that names the bucket's address if boto3 is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in S3_PACKAGES:
            raise
        raise ConfigurationError(
            f"{address} needs boto3, which is not installed. "
            'Run `pip install "fieldpost[s3]"`, or name no bucket: files are then kept on this machine.'
        ) from error


def current_storage() -> Storage:
    """The storage of the current application."""
    storage: Storage = current_app.extensions["fieldpost.storage"]
    return storage
