"""The permissions of files that are there when a server starts: copies and other programs may have opened them."""

from __future__ import annotations

import logging
from pathlib import Path

from flask import Flask

from app.config import Settings
from app.core.database import database_of
from app.core.database.engine import db
from app.core.private_files import close_to_others, is_open_to_others

logger = logging.getLogger(__name__)


def keep_private(app: Flask, settings: Settings) -> None:
    """Close what the server keeps to the machine's other users, and warn of what it must not or cannot close."""
    with app.app_context():
        database = database_of(db.engine).files(db.engine)
    # The directory of the stored files keeps others from all that is in it.
    kept = [settings.data_dir / "attachments", settings.data_dir / "secret_key", *database]
    for path in filter(is_open_to_others, kept):
        try:
            close_to_others(path)
        except OSError:
            _warn(path)
        else:
            logger.info("%s was open to other users of this machine, and is closed to them now", path)
    # Somebody may have chosen a directory with other people's files in it, so it is not ours to close.
    if is_open_to_others(settings.data_dir):
        _warn(settings.data_dir)


def _warn(path: Path) -> None:
    logger.warning("%s is open to other users of this machine: run `chmod go-rwx` on it as its owner", path)
