"""What the processes of a contender take: processor time and memory, their children included."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil


def cpu_seconds(roots: Iterable[int]) -> float:
    """Processor time, user and system, of these processes and all below them, those that have ended included."""
    seconds = 0.0
    for root in roots:
        process = psutil.Process(root)
        for each in (process, *process.children(recursive=True)):
            # A process may end while we look; its parent has its time then.
            with suppress(psutil.NoSuchProcess):
                seconds += sum(each.cpu_times()[:4])
    return seconds


class Memory:
    """Memory of some processes above what they have now, in MiB: of each the peak, so that the sum is no less than
    what they ever took together."""

    def __init__(self, process_ids: Iterable[int]) -> None:
        self._idle = {each: _read(each, "VmRSS") for each in process_ids}
        for each in self._idle:
            # Sets the peak back to the present.
            Path(f"/proc/{each}/clear_refs").write_text("5")

    def idle(self) -> float:
        """What the largest of them had at first, in MiB, as `ps` shows it."""
        return max(self._idle.values())

    def above_idle(self) -> float:
        """The peaks since then, above idle, added up."""
        return sum(_read(each, "VmHWM") - idle for each, idle in self._idle.items())


def _read(process_id: int, name: str) -> float:
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"No {name} of process {process_id}")
