"""When a backup and the maintenance were last done: files without content in the data directory, whose time counts.

Each node knows of its own. A row of the database would be lost with it, just when somebody asks.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from app.core.private_files import FILE

#: All tasks that are noted.
TASKS = ("backup", "maintenance")


def note_done(data_dir: Path, task: str) -> None:
    """Note that the task is done now. The task itself counts, so that nothing is said if this cannot be noted."""
    with suppress(OSError):
        _file(data_dir, task).touch(FILE)


def done_at(data_dir: Path, task: str) -> float | None:
    """When the task was last done, in seconds since 1970; None if never, as far as this node knows."""
    try:
        return _file(data_dir, task).stat().st_mtime
    except OSError:
        return None


def seconds_since(data_dir: Path, task: str) -> int | None:
    """How many seconds ago the task was last done; None if never, as far as this node knows."""
    moment = done_at(data_dir, task)
    return None if moment is None else max(0, int(time.time() - moment))


def _file(data_dir: Path, task: str) -> Path:
    return data_dir / f"last_{task}"
