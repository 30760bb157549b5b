"""Where the bytes of photos and signatures are kept."""

from __future__ import annotations

from flask import current_app

from app.config import Settings
from app.errors import ConfigurationError
from app.storage.local import LocalStorage
from app.storage.protocol import MissingObjectError, Storage, StoredObject

__all__ = ["MissingObjectError", "Storage", "StoredObject", "current_storage", "open_storage"]


def open_storage(settings: Settings) -> Storage:
    """The storage that the settings name. Raises `ConfigurationError`."""
    if not settings.storage:
        return LocalStorage(settings.data_dir / "attachments")
    if settings.storage.startswith("s3://"):
        raise ConfigurationError(
            f"FIELDPOST_STORAGE={settings.storage!r}: S3 is not built in yet, it comes in a later release. "
            "Unset it: files are then kept in the data directory."
        )
    raise ConfigurationError(
        f"FIELDPOST_STORAGE={settings.storage!r} names no storage that Fieldpost knows. "
        "Leave it empty: files are then kept in the data directory."
    )


def current_storage() -> Storage:
    """The storage of the current application."""
    found: Storage = current_app.extensions["fieldpost.storage"]
    return found
