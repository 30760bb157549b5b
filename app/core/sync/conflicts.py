"""The version rule and the three-way merge (contract, section 3.1): pure functions, no database, no clock.

A version is a datetime in whole milliseconds. Fields are JSON values by name; a missing name is unlike null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from app.core.ledger.versions import Transition
from app.core.values import is_same
from app.models.entities import Fields, as_json

#: The ways in which a client may have a conflict resolved, asked for up front (contract, section 3.1(4)).
STRATEGIES = ("use_local", "use_server", "merge")

#: Marks a field that is not there; no JSON value is the same.
ABSENT = object()


class Step(Transition, Protocol):
    """A transition that the client itself has made, with the time at which it says that it did."""

    @property
    def made_at(self) -> datetime | None:
        """By the device's clock; None where it sent none."""


class Change(Transition, Protocol):
    """A transition with the fields that changed: one that the ledger tells, or a change stated by this batch."""

    @property
    def changes(self) -> dict[str, Fields]:
        """field -> {"old": value, "new": value}; a missing key says absent."""


def outdone(version: datetime, made_at: datetime | None, changes: Iterable[Change], own: Iterable[Step]) -> set[str]:
    """The fields that the client itself changed after `version`, and later by its own time than `made_at`.

    A change that arrives late does not undo newer work of the same device (contract, section 3.1(3)). Work that
    changed nothing when it arrived left no change, and holds nothing back.
    """
    if made_at is None:
        return set()
    later = {step.version_after for step in own if step.made_at is not None and step.made_at > made_at}
    return {
        name
        for change in changes
        if change.version_after in later and change.version_after is not None and change.version_after > version
        for name in change.changes
    }


def base_of(
    present: Fields, present_version: datetime, version: datetime, changes: Iterable[Change], own: Iterable[Transition]
) -> Fields | None:
    """The fields that the client started from: those of `version`, with its own later changes on top.

    `present`: the row's fields at `present_version`. `changes`: the row's changes, oldest first, at least all
    after `version`; `own`: those among them that the client made. None where the row
    never had that version, or where the ledger no longer tells every change from it to the present one.
    """
    later = [change for change in changes if change.version_after is not None and change.version_after > version]
    befores, afters = [change.version_before for change in later], [change.version_after for change in later]
    # Without a gap: the ledger is pruned in the order of transactions, which is not always that of one row's versions.
    if [*befores, present_version] != [version, *afters]:
        return None
    fields = dict(present)
    for change in reversed(later):
        _set(fields, change.changes, "old")
    own_versions = {transition.version_after for transition in own}
    for change in later:
        if change.version_after in own_versions:
            _set(fields, change.changes, "new")
    return fields


def _set(fields: Fields, changes: Mapping[str, Mapping[str, Any]], side: str) -> None:
    for name, sides in changes.items():
        if side in sides:
            fields[name] = sides[side]
        else:
            fields.pop(name, None)


def three_way(base: Fields | None, server: Fields, local: Mapping[str, Any]) -> tuple[Fields, list[str]]:
    """Merge `local` into `server`, field by field, against `base`.

    Returns the local values still to be set, and, sorted, the names of the fields that both sides changed to different
    values. Without a base every field that differs counts as changed on both sides.
    """
    changes, conflicting = {}, []
    for name, value in local.items():
        mine, theirs = as_json(value), server.get(name, ABSENT)
        before = ABSENT if base is None else base.get(name, ABSENT)
        if is_same(mine, theirs) or (base is not None and is_same(mine, before)):
            continue
        if base is not None and is_same(theirs, before):
            changes[name] = value
        else:
            conflicting.append(name)
    return changes, sorted(conflicting)


def differing(fields: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The names in `wanted`, sorted, whose values `fields` does not have."""
    return sorted(name for name, value in wanted.items() if not is_same(as_json(value), fields.get(name, ABSENT)))
