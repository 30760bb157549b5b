"""The one clock: the present time, in UTC and whole milliseconds. Any module may import it.

Order never comes from here; it comes from the database (docs/architecture.md, rule 9).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from flask import current_app

Clock = Callable[[], datetime]

#: The smallest step between two versions of a row (contract, section 3.1).
MILLISECOND = timedelta(milliseconds=1)


def system_clock() -> datetime:
    """The machine's time."""
    return datetime.now(UTC)


def now() -> datetime:
    """The current application's time, cut to milliseconds."""
    clock: Clock = current_app.extensions["fieldpost.clock"]
    return cut(clock())


def cut(moment: datetime) -> datetime:
    """`moment` without what is finer than a millisecond."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def to_wire(moment: datetime) -> str:
    """`2024-03-15T10:30:00.000Z`: RFC 3339, UTC, exactly three decimals (contract, section 0)."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
