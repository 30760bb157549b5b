"""The versions of a row: which ones it had, and whether a change may stand on one (contract, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from app.core.ledger.history import changes_since
from app.core.ledger.record import Recorder, differs
from app.core.values import JsonObject, Values
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


def lift(version: datetime, own: Iterable[Transition]) -> datetime:
    """The version that a client's `version` stands for after its own changes since.

    A transition from p to q lifts any version that is not older than p to q: one's own chain is never a conflict,
    while a foreign change before, between or after still is one (contract, section 3.1(3)).
    """
    for transition in own:
        before, after = transition.version_before, transition.version_after
        if before is not None and after is not None and version >= before:
            version = max(version, after)
    return version


def require_version(
    recorder: Recorder, row: Row, version: datetime | None, values: Values, show: Callable[[], JsonObject]
) -> None:
    """Refuse a change through REST that may not stand on `version`, by the rule of `POST /sync`. The row is locked.

    `values`: the fields to set, by which it is seen whether there is anything to decide. `show` gives the present row
    for the answer. Raises `StaleError`.
    """
    present = row.updated_at
    if version is None or version == present or not differs(row, values):
        return
    is_from_the_future = is_ahead(version, recorder.now)
    if version > present and not is_from_the_future:
        return
    entity = entity_of(row).name
    changes = changes_since(recorder.session, recorder.origin, entity, {row.id: version})[str(row.id)]
    is_given = is_version_of(version, present, changes)
    own = [change for change in changes if change.is_own]
    if (is_given or not is_from_the_future) and lift(version, own) >= present:
        return
    if is_given or not was_never_given(version, present, changes):
        raise StaleError(extra={"data": show()})
    raise StaleError(message=AS_RECEIVED, extra={"data": show(), "unknown_version": True})
