"""The files in which prometheus_client keeps the numbers of a server's workers, one for each worker and kind.

A worker maps its files into memory. A page for which the disk has no room is then no error that Python could see: the
kernel ends the process (SIGBUS). Here the pages of a file are reserved before they are used. As long as that fails, the
worker counts in its own memory alone, and what it has counted appears when there is room again.

prometheus_client keeps the files of all workers that have ever run. Here those of ended workers become one.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

#: The size of a new file in bytes; it doubles when it is full.
FIRST_SIZE = 64 * 1024

#: After how many seconds to ask again for room that there was not.
PAUSE_SECONDS = 1.0

#: The kinds of numbers that outlive a worker. Gauges tell of running workers only.
LASTING = ("counter", "histogram")


class ReservedDict(MmapedDict):
    """prometheus_client's dict of numbers, which are written only where the file's pages are reserved."""

    def __init__(self, filename: str) -> None:
        self._path = Path(filename)
        self._is_open = False
        # `close` of the base looks at it.
        self._f: Any = None
        self._positions: dict[str, int] = {}
        self._used = self._capacity = 0
        #: When to ask for room again, on the monotonic clock.
        self._next_try = 0.0
        self._open()

    def read_value(self, key: str) -> tuple[float, float]:
        """The number and its time; zeros if it has no place in the file."""
        if not self._has_place(key):
            return 0.0, 0.0
        number, moment = super().read_value(key)  # type: ignore[no-untyped-call]
        return number, moment

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Write the number if it has a place. Otherwise a later call does, because a number is always written whole."""
        if self._has_place(key):
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]

    def _has_place(self, key: str) -> bool:
        if key in self._positions:
            return True
        if time.monotonic() < self._next_try:
            return False
        has_room = self._open() and self._grow(key)
        if not has_room:
            self._next_try = time.monotonic() + PAUSE_SECONDS
        return has_room

    def _open(self) -> bool:
        if self._is_open:
            return True
        # Those who read all files see it only when it is whole.
        new = self._path.with_suffix(".new")
        try:
            if not self._path.exists():
                new.touch()
                _reserve(new, FIRST_SIZE)
                new.rename(self._path)
            super().__init__(str(self._path))  # type: ignore[no-untyped-call]
            self._is_open = True
        except OSError:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            return False
        return True

    def _grow(self, key: str) -> bool:
        # The length, the text with at most 8 bytes of padding, the number and its time.
        needed = self._used + 4 + len(key.encode()) + 8 + 16
        size = self._capacity
        while size < needed:
            size *= 2
        if size > self._capacity:
            try:
                _reserve(self._path, size)
            except OSError:
                return False
        return True


def reserve_pages() -> None:
    """Let prometheus_client use `ReservedDict`, for all numbers that are made after this call."""
    vars(values)["MmapedDict"] = ReservedDict


def merge_ended(directory: Path) -> None:
    """Make one file of each lasting kind of the files of workers that have ended."""
    with _locked(directory, fcntl.LOCK_EX | fcntl.LOCK_NB) as is_locked:
        if is_locked:
            for kind in LASTING:
                _merge(directory, kind)


@contextmanager
def reading(directory: Path) -> Iterator[None]:
    """Inside the block no files are merged: no number is there twice, or not at all."""
    with _locked(directory, fcntl.LOCK_SH):
        yield


def _merge(directory: Path, kind: str) -> None:
    ended = [path for path in directory.glob(f"{kind}_*.db") if _has_ended(path)]
    if not ended:
        return
    merged, new = directory / f"{kind}_ended.db", directory / f"{kind}_ended.merging"
    sums: dict[str, float] = defaultdict(float)
    for path in [*ended, *([merged] if merged.exists() else [])]:
        for key, number, _, _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
            sums[key] += number
    if _write(new, sums):
        new.rename(merged)
        for path in ended:
            path.unlink()


def _write(path: Path, numbers: dict[str, float]) -> bool:
    """Whether there was room for all of them."""
    path.unlink(missing_ok=True)
    file = ReservedDict(str(path))
    for key, number in numbers.items():
        file.write_value(key, number, 0.0)
    is_whole = numbers.keys() == file._positions.keys()
    file.close()  # type: ignore[no-untyped-call]
    if not is_whole:
        path.unlink(missing_ok=True)
    return is_whole


def _has_ended(path: Path) -> bool:
    """Whether the process of a file named `kind_123.db` has ended."""
    process_id = path.stem.rpartition("_")[2]
    if not process_id.isdecimal():
        return False
    try:
        os.kill(int(process_id), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


@contextmanager
def _locked(directory: Path, operation: int) -> Iterator[bool]:
    """Hold a lock on the directory; false if another process has one."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, operation)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(handle)


def _reserve(path: Path, size: int) -> None:
    """Give a file at least this size in bytes, and its pages a place. Raises `OSError` where there is no room."""
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, size)
