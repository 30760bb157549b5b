"""The directory that the processes of one server share while it runs. Loads no library: gunicorn's master imports this.

prometheus_client keeps the numbers of all workers in it, and reads its name from the environment when it is imported.
So nothing of it may be imported before `make_directory` has been called.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from app.core.host.endings import DIRECTORY, PREFIX, keep_endings

#: The environment variable that prometheus_client reads.
NAME = DIRECTORY

#: The file that is there once all workers have been ready at the same time.
ALL_READY = "all-ready"

#: How the name of the file begins that a worker makes when it is ready; its number follows.
READY = "ready-"


def make_directory() -> None:
    """Make a fresh directory, and name it in the environment."""
    os.environ[NAME] = tempfile.mkdtemp(prefix=PREFIX)


def directory() -> Path:
    """The directory."""
    return Path(os.environ[NAME])


def remove_directory() -> None:
    """Remove the directory and everything in it."""
    shutil.rmtree(os.environ[NAME], ignore_errors=True)


def close_worker(process_id: int) -> None:
    """Forget that an ended worker was ready, and its open connections; keep in mind at which items it ended.

    Its counts stay, and the next worker adds them up.
    """
    keep_endings(directory(), process_id)
    for file in [*directory().glob(f"gauge_live*_{process_id}.db"), directory() / f"{READY}{process_id}"]:
        file.unlink(missing_ok=True)


def was_ready(process_id: int) -> bool:
    """Whether a worker was ready that has not been closed yet."""
    return (directory() / f"{READY}{process_id}").exists()


def has_served() -> bool:
    """Whether this process takes the place of an ended worker. False without gunicorn, where no directory is named."""
    return NAME in os.environ and (directory() / ALL_READY).exists()


def is_first_to_fail() -> bool:
    """Whether no other worker of this server has asked this before."""
    return is_first(directory() / "not-loaded")


def is_first(path: Path) -> bool:
    """Whether no other process has made the file before, which this one makes."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
