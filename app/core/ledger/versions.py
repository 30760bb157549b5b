"""The versions of a row: which ones it had, and whether a change may stand on one (contract, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from app.core.ledger.history import changes_since
from app.core.ledger.record import Recorder
from app.core.values import JsonObject
from app.errors import StaleError
from app.models.entities import Row, entity_of

#: How far a version may be ahead of the server's clock: that of another node may be as far ahead.
TOLERANCE = timedelta(seconds=2)

#: The advice about a version that the server never gave out.
AS_RECEIVED = "The row never had this version. Send `updated_at` exactly as you received it."


class Transition(Protocol):
    """A row's way from one version to the next."""

    @property
    def version_before(self) -> datetime | None:
        """None: the row was created."""

    @property
    def version_after(self) -> datetime | None:
        """None: the row was deleted."""


def is_ahead(version: datetime, now: datetime) -> bool:
    """Whether a client's version is so far ahead of the server's clock that no server can have given it out."""
    return version > now + TOLERANCE


def is_version_of(version: datetime, present_version: datetime, changes: Iterable[Transition]) -> bool:
    """Whether a row has or had this version, as far as `changes`, those since it, tell."""
    return version == present_version or any(
        version in (change.version_before, change.version_after) for change in changes
    )


def was_never_given(version: datetime, present_version: datetime, changes: Sequence[Transition]) -> bool:
    """Whether the row cannot have had a version that `is_version_of` does not find.

    It can if the version is older than all `changes`, because the ledger forgets the oldest ones.
    """
    if version > present_version:
        return True
    oldest = changes[0].version_before if changes else present_version
    return oldest is None or oldest < version


def require_version(recorder: Recorder, row: Row, version: datetime | None, show: Callable[[], JsonObject]) -> None:
    """Refuse a change through REST that was not made on the row's present version. The row is locked.

    `show` gives the present row for the answer. Raises `StaleError`.
    """
    present = row.updated_at
    if version is None or version == present or (version > present and not is_ahead(version, recorder.now)):
        return
    entity = entity_of(row).name
    changes = changes_since(recorder.session, recorder.origin, entity, {row.id: version})[str(row.id)]
    if is_version_of(version, present, changes) or not was_never_given(version, present, changes):
        raise StaleError(extra={"data": show()})
    raise StaleError(message=AS_RECEIVED, extra={"data": show(), "unknown_version": True})
