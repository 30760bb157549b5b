"""The version rule and the three-way merge (contract, section 3.1): pure functions, no database, no clock.

A version is a datetime in whole milliseconds. Fields are JSON values by name; a missing name is unlike null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.core.values import is_same

#: What a client may ask for up front (contract, section 3.1(4)).
STRATEGIES = ("use_local", "use_server", "merge")

#: Marks a field that is not there; no JSON value is the same.
ABSENT: Any = object()


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One change that took a row from one version to the next."""

    #: None: the row was created by it.
    before: datetime | None
    after: datetime
    #: field -> {"old": value, "new": value}; a missing key says absent.
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Merge:
    """What a three-way merge found."""

    #: Local values that are still to be set.
    changes: dict[str, Any]
    #: Fields changed on both sides to different values, sorted.
    conflicting: list[str]


def lift(version: datetime, own_steps: Iterable[Step]) -> datetime:
    """The version that a client's `version` stands for after its own earlier operations of the same batch.

    A step from p to q lifts any version that is not older than p to q: one's own chain is never a conflict,
    while a foreign change before, between or after still is one (contract, section 3.1(3)).
    """
    for step in own_steps:
        if step.before is not None and version >= step.before:
            version = max(version, step.after)
    return version


def base_of(
    present: Mapping[str, Any], present_version: datetime, version: datetime, steps: Iterable[Step], own: Iterable[Step]
) -> dict[str, Any] | None:
    """The fields that the client started from: those of `version`, with its own later changes on top.

    `present`: the row's fields at `present_version`. `steps`: what happened to the row, oldest first, at least
    everything after `version`; `own`: those among them that earlier items of the same batch did. None where the row
    never had that version, or where the ledger no longer tells every step from it to the present one.
    """
    later = [step for step in steps if step.after > version]
    # Without a gap: the ledger is pruned in the order of transactions, which is not always that of one row's versions.
    if [*(step.before for step in later), present_version] != [version, *(step.after for step in later)]:
        return None
    fields = dict(present)
    for step in reversed(later):
        _set(fields, step.changes, "old")
    own_versions = {step.after for step in own}
    for step in later:
        if step.after in own_versions:
            _set(fields, step.changes, "new")
    return fields


def _set(fields: dict[str, Any], changes: Mapping[str, Mapping[str, Any]], side: str) -> None:
    for name, change in changes.items():
        if side in change:
            fields[name] = change[side]
        else:
            fields.pop(name, None)


def three_way(base: Mapping[str, Any] | None, server: Mapping[str, Any], local: Mapping[str, Any]) -> Merge:
    """Merge `local` into `server`, field by field, against `base`.

    Without a base every field that differs counts as changed on both sides.
    """
    changes, conflicting = {}, []
    for name, value in local.items():
        theirs = server.get(name, ABSENT)
        before = ABSENT if base is None else base.get(name, ABSENT)
        if is_same(value, theirs) or (base is not None and is_same(value, before)):
            continue
        if base is not None and is_same(theirs, before):
            changes[name] = value
        else:
            conflicting.append(name)
    return Merge(changes=changes, conflicting=sorted(conflicting))
