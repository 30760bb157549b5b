"""How syncing goes: the counts of a period, by hour or by day, from the counts of each hour (contract, section 13)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

from sqlalchemy import Select, func, select

from app.clock import now
from app.core.database.engine import db
from app.errors import ForbiddenError
from app.models import DELAYS, SyncHour
from app.policies import is_admin
from app.web import signed_in_user

#: The columns that count refusals, by their code.
REFUSALS = ("forbidden", "invalid", "not_found", "invalid_type", "handler_failed", "refused_otherwise")

_OUTCOMES = ("batches", "applied", "replayed", "conflicts")
_DELAYS = tuple(f"delay_{number}" for number in range(1, len(DELAYS) + 2))
_COUNTS = (*_OUTCOMES, *REFUSALS, *_DELAYS)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A part of the period, an hour or a day long."""

    start: datetime
    batches: int = 0
    applied: int = 0
    replayed: int = 0
    conflicts: int = 0
    refused: int = 0


@dataclass(frozen=True, kw_only=True)
class SyncHealth:
    """The counts of a period."""

    steps: list[Step]
    batches: int
    applied: int
    replayed: int
    conflicts: int
    #: Code -> items.
    refused: dict[str, int] = field(default_factory=dict)
    #: Seconds from device to server that half, and nine in ten, of the operations with a device's time took at most;
    #: None where there were none, or where they took longer than the longest that is told apart.
    median_delay: int | None = None
    long_delay: int | None = None
    #: How many operations came with their device's time.
    timed: int = 0


def sync_health(days: int) -> SyncHealth:
    """The counts of the last `days`, by hour for one day and by day otherwise. For administrators alone."""
    if not is_admin(signed_in_user()):
        raise ForbiddenError("Not authorized", "Only administrators see how syncing goes.")
    length = timedelta(hours=1) if days == 1 else timedelta(days=1)
    starts = _starts(days, length)
    counts = {start: dict.fromkeys(_COUNTS, 0) for start in starts}
    for hour, *numbers in db.session.execute(_by_hour(starts[0])):
        step = counts[_start_of(hour, length)]
        for name, number in zip(_COUNTS, numbers, strict=True):
            step[name] += int(number)
    total = {name: sum(step[name] for step in counts.values()) for name in _COUNTS}
    delays = [total[name] for name in _DELAYS]
    return SyncHealth(
        steps=[_step(start, numbers) for start, numbers in counts.items()],
        **{name: total[name] for name in _OUTCOMES},
        refused={name: total[name] for name in REFUSALS if total[name]},
        median_delay=_within(delays, 0.5),
        long_delay=_within(delays, 0.9),
        timed=sum(delays),
    )


def _starts(days: int, length: timedelta) -> list[datetime]:
    last = _start_of(now(), length)
    count = 24 if length < timedelta(days=1) else days
    return [last - length * number for number in reversed(range(count))]


def _start_of(moment: datetime, length: timedelta) -> datetime:
    hour = moment.replace(minute=0, second=0, microsecond=0)
    return hour if length < timedelta(days=1) else hour.replace(hour=0)


def _by_hour(since: datetime) -> Select[Any]:
    sums = [func.sum(getattr(SyncHour, name)) for name in _COUNTS]
    return select(SyncHour.hour, *sums).where(SyncHour.hour >= since).group_by(SyncHour.hour)


def _step(start: datetime, numbers: dict[str, int]) -> Step:
    refused = sum(numbers[name] for name in REFUSALS)
    return Step(start=start, refused=refused, **{name: numbers[name] for name in _OUTCOMES})


def _within(delays: list[int], share: float) -> int | None:
    """The shortest of the bounds within which this share of the operations came."""
    total = sum(delays)
    sums = zip(accumulate(delays), (*DELAYS, None), strict=True)
    return next((bound for count, bound in sums if count >= share * total), None) if total else None
