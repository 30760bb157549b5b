"""The directory that the processes of one server share while it runs. Loads no library: gunicorn's master imports this.

prometheus_client keeps the numbers of all workers in it, and reads its name from the environment when it is imported.
So nothing of it may be imported before `make_directory` has been called.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from app.core.host.endings import DIRECTORY, keep_endings

#: The environment variable that prometheus_client reads.
NAME = DIRECTORY


def make_directory() -> None:
    """Make a fresh directory, and name it in the environment."""
    os.environ[NAME] = tempfile.mkdtemp(prefix="fieldpost-metrics-")


def directory() -> Path:
    """The directory."""
    return Path(os.environ[NAME])


def remove_directory() -> None:
    """Remove the directory and everything in it."""
    shutil.rmtree(os.environ[NAME], ignore_errors=True)


def close_worker(process_id: int) -> None:
    """Forget the connections that an ended worker had open, and keep in mind at which items it ended.

    Its counts stay, and the next worker adds them up.
    """
    keep_endings(directory(), process_id)
    for file in directory().glob(f"gauge_live*_{process_id}.db"):
        file.unlink(missing_ok=True)


def is_first_to_fail() -> bool:
    """Whether no other worker of this server has asked this before."""
    try:
        (directory() / "not-loaded").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
