"""When a backup and the maintenance were last done: files without content in the data directory, whose time counts.

Each node knows of its own. A row of the database would be lost with it, just when somebody asks.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from app.core.private_files import FILE

#: All jobs that are noted.
JOBS = ("backup", "maintenance")


def note_done(data_dir: Path, job: str) -> None:
    """Note that the job is done now. The job itself counts, so that nothing is said if this cannot be noted."""
    with suppress(OSError):
        _file(data_dir, job).touch(FILE)


def done_at(data_dir: Path, job: str) -> float | None:
    """When the job was last done, in seconds since 1970; None if never, as far as this node knows."""
    try:
        return _file(data_dir, job).stat().st_mtime
    except OSError:
        return None


def _file(data_dir: Path, job: str) -> Path:
    return data_dir / f"last_{job}"
