"""Items at which a worker has ended: by `os._exit`, by the system for want of memory, by a call that never came back.

Such an item takes its whole batch along, and again each time that a device sends it. While a plugin's code runs for an
item, the item's mark therefore stands in a file of the worker's that the server's master can read: pages of memory,
so that writing to it costs next to nothing. When a worker has ended, the master adds the marks that it finds there to
the list of endings, which all workers of the node read. It is kept as long as the server runs, and forgotten at a
reload. Loads no library: gunicorn's master imports this module.
"""

from __future__ import annotations

import itertools
import mmap
import os
import threading
from collections import Counter
from contextlib import suppress
from functools import cache
from pathlib import Path

#: The environment variable with the directory that the processes of a server share (`app.serving.shared`).
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

#: How the name of such a directory begins, among the system's temporary files.
PREFIX = "fieldpost-metrics-"

#: The longest mark, in bytes, and the number of threads of a worker whose items are marked: one for each connection.
SIZE, THREADS = 96, 512

_making = threading.Lock()


class Slot:
    """The place for the mark of the item under way in one thread."""

    def __init__(self, memory: mmap.mmap, index: int) -> None:
        self._memory = memory
        self._start = index * SIZE

    def put(self, mark: str) -> None:
        """Say which item a plugin's code runs for from now on."""
        self._memory[self._start : self._start + SIZE] = mark.encode().ljust(SIZE, b"\0")[:SIZE]

    def clear(self) -> None:
        """Say that none does."""
        self._memory[self._start] = 0


class Marks:
    """The marks of one worker, in a file of its own, and the endings of all workers."""

    def __init__(self, directory: Path) -> None:
        """Raises `OSError` where there is no room for the file."""
        path = _marks_of(directory, os.getpid())
        # Written in full: a page that the disk has no room for would end the worker itself.
        path.write_bytes(bytes(SIZE * THREADS))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), SIZE * THREADS)
        self._numbers = itertools.count()
        self._local = threading.local()
        self._ended = _ended(directory)
        self._known: tuple[int, Counter[str]] = (0, Counter())

    def slot(self) -> Slot | None:
        """The slot of the present thread; None where there are too many."""
        if not hasattr(self._local, "slot"):
            index = next(self._numbers)
            self._local.slot = Slot(self._memory, index) if index < THREADS else None
        slot: Slot | None = self._local.slot
        return slot

    def blame(self, slot: Slot | None) -> None:
        """Keep this mark alone: the worker is going to be ended for this item, and the others are not to blame."""
        text = None if slot is None else self._memory[slot._start : slot._start + SIZE]
        self._memory[:] = bytes(SIZE * THREADS)
        if slot is not None and text is not None:
            self._memory[slot._start : slot._start + SIZE] = text

    def endings(self) -> Counter[str]:
        """Mark -> how many workers have ended at it."""
        try:
            size = self._ended.stat().st_size
        except FileNotFoundError:
            return Counter()
        if size != self._known[0]:
            self._known = size, Counter(self._ended.read_text().splitlines())
        return self._known[1]


def marks_of_process() -> Marks | None:
    """The marks of this worker; None where no server has made a directory for them, or it is full."""
    # A second thread would truncate the file while the first one maps it.
    with _making:
        return _marks_of_process()


@cache
def _marks_of_process() -> Marks | None:
    directory = os.environ.get(DIRECTORY)
    with suppress(OSError):
        return None if directory is None else Marks(Path(directory))
    return None


def keep_endings(directory: Path, process_id: int) -> list[str]:
    """Add the marks of a worker that has ended to the list, and return them. Called by the master.

    A disk without room loses them, and must not end the master.
    """
    path = _marks_of(directory, process_id)
    try:
        memory = path.read_bytes()
    except FileNotFoundError:
        return []
    texts = (memory[start : start + SIZE].rstrip(b"\0") for start in range(0, len(memory), SIZE))
    marks = [text.decode() for text in texts if text and text[0]]
    with suppress(OSError):
        path.unlink()
        if marks:
            with _ended(directory).open("a") as file:
                file.writelines(f"{mark}\n" for mark in marks)
    return marks


def _marks_of(directory: Path, process_id: int) -> Path:
    return directory / f"items-{process_id}"


def _ended(directory: Path) -> Path:
    return directory / "endings"
