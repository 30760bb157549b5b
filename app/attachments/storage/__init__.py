"""Where the bytes of photos and signatures are kept."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flask import current_app

from app.attachments.storage.local import LocalStorage
from app.attachments.storage.protocol import LinkingStorage, MissingObjectError, Storage, StoredObject
from app.config import Settings
from app.errors import ConfigurationError

__all__ = ["LinkingStorage", "MissingObjectError", "Storage", "StoredObject", "current_storage", "open_storage"]

#: What `app.attachments.storage.s3` needs and an installation without the extra `s3` does not have.
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
    """A bucket; its module is imported only here, since boto3 is an extra and takes time and memory."""
    try:
        module: Any = import_module("app.attachments.storage.s3")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in S3_PACKAGES:
            raise
        raise ConfigurationError(
            f"FIELDPOST_STORAGE={settings.storage!r} needs boto3, which is not installed. "
            'Run `pip install "fieldpost[s3]"`, or unset it: files are then kept in the data directory.'
        ) from error
    opened: Storage = module.open_bucket(settings)
    return opened


def current_storage() -> Storage:
    """The storage of the current application."""
    found: Storage = current_app.extensions["fieldpost.storage"]
    return found
