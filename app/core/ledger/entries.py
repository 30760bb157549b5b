"""The changes and the operations that a unit of work states before they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from app.models.entities import Fields, Row

#: field -> {"old": value, "new": value}; a missing key says that the field was absent.
Changes: TypeAlias = dict[str, Fields]


@dataclass(kw_only=True, slots=True, eq=False)
class StatedChange:
    """One change to one row, stated but not yet written."""

    #: `create`, `change` or `delete`.
    action: str
    row: Row
    #: The operation's place in its unit.
    position: int
    version_before: datetime | None
    version_after: datetime | None
    changes: Changes
    #: Attribute -> value before, to undo the change in memory.
    previous: Mapping[str, object] = field(default_factory=dict)
    #: The device's time of the operation, where it sent one.
    made_at: datetime | None = None
    #: Users who gain or lose sight of the row's inspection with this change.
    gains: set[int] = field(default_factory=set)
    losses: set[int] = field(default_factory=set)


#: `local_id` and fingerprint: with the same, two operations of one user and device are one (contract, section 3.2).
#: An item that is refused may have another JSON value for its `local_id`; it is never remembered.
Key: TypeAlias = tuple[str | int | float | None, str | None]


class Remembered(NamedTuple):
    """One applied operation as every retry is answered with it. Each field is a column of `LedgerOperation`."""

    type: str
    #: The time of the unit of work that applied it.
    recorded_at: datetime
    #: The operation's place in its unit.
    position: int = 0
    local_id: str | None = None
    fingerprint: str | None = None
    #: The row that it was about, and the versions that it led from and to; None where its type has no versions.
    entity: str | None = None
    entity_id: str | None = None
    version_before: datetime | None = None
    version_after: datetime | None = None
    message: str | None = None
    #: `{"result": …, "also": [[entity, id], …]}`, each key where there is something to keep; None: neither.
    result: Mapping[str, Any] | None = None
    #: The device's time when the change was made, and its further notes about it; None: it sent none.
    made_at: datetime | None = None
    meta: Mapping[str, Any] | None = None
    #: Who in the office decided it in the sender's place; None: the sender's own.
    decided_by_id: int | None = None

    @property
    def key(self) -> Key:
        """The key under which a retry finds it."""
        return self.local_id, self.fingerprint
