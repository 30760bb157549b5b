"""What a unit of work states before it is written: changes to rows, and the operations that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.plugin_api import Row

#: field -> {"old": value, "new": value}; a missing key says that the field was absent.
Changes = dict[str, dict[str, Any]]


@dataclass(kw_only=True, slots=True)
class Entry:
    """One change to one row, stated but not yet written."""

    action: str
    row: Row
    #: The operation's place in its unit.
    position: int
    version_before: datetime | None
    version_after: datetime | None
    changes: Changes
    #: Attribute -> value before, to undo the change in memory.
    previous: dict[str, Any]
    #: Users whose sight of the row's inspection changes with it.
    gains: set[int]
    losses: set[int]


@dataclass(kw_only=True, slots=True)
class Head:
    """One applied operation, not yet written: what every retry is answered with."""

    position: int
    type: str
    local_id: str | None = None
    fingerprint: str | None = None
    #: The row that it was about; None: the first that it changed.
    row: Row | None = None
    version_before: datetime | None = None
    version_after: datetime | None = None
    message: str | None = None
    result: Mapping[str, Any] | None = None
