"""What must hold after anything that a network and processes may do: the ledger against what crossed the lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from flask import Flask
from sqlalchemy import select

from app.core.database.engine import db
from app.models import Attachment, FormFill, Inspection, LedgerEntry, LedgerOperation
from app.models.entities import fields_of
from tests.support.device import Device
from tests.support.lines import Witness

#: What must be zero.
FAULTS = (
    "lost",
    "applied twice",
    "applied though refused",
    "not as sent",
    "never sent",
    "dropped by the device",
    "overwritten unseen",
)

#: Who sent what: device_id and local_id.
Key = tuple[str, str]


def check(app: Flask, devices: Iterable[Device]) -> Counter[str]:
    """Raise `AssertionError` unless each change counts once and nothing acknowledged is lost; the counts.

    The devices' transports are `Witness`es. Every value that they send must be another, so that it can be told apart.
    """
    with app.app_context():
        told = Told()
        counts = count(list(devices), told)
        wrong = {name: counts[name] for name in FAULTS if counts[name]}
        assert not wrong, f"{wrong} of {dict(counts)}"
        check_versions(told.entries)
        check_history(told.entries)
        db.session.remove()
    return counts


def check_devices(devices: Iterable[Device]) -> None:
    """Devices of people who see the same hold the same, and nothing waits, once all have synced on a good network."""
    first, *others = devices
    for device in (first, *others):
        store = device.store
        assert [*store.queue, *store.set_aside, *store.photos] == [], "work is left over"
        assert store.rows == first.store.rows, "devices hold different data"


class Told:
    """What the ledger tells, by who asked for it and by row."""

    def __init__(self) -> None:
        statement = select(LedgerOperation).order_by(LedgerOperation.id)
        operations = {(each.unit_id, each.position): each for each in db.session.scalars(statement)}
        self.entries = list(db.session.scalars(_entries()))
        #: Who sent it -> for each time that it was recorded, what it changed.
        self.recorded: dict[Key, list[list[LedgerEntry]]] = {}
        #: Entity and id -> its changes in order, each with the device that made it.
        self.rows: dict[tuple[str, str], list[tuple[str, LedgerEntry]]] = {}
        self._positions: dict[int, int] = {}
        written: dict[tuple[str, int], list[LedgerEntry]] = {}
        for entry in self.entries:
            place = (entry.unit_id, entry.position)
            written.setdefault(place, []).append(entry)
            changes = self.rows.setdefault((entry.entity, entry.entity_id), [])
            self._positions[entry.id] = len(changes)
            changes.append((operations[place].device_id, entry))
        for place, each in operations.items():
            if each.local_id is not None:
                self.recorded.setdefault((each.device_id, each.local_id), []).append(written.get(place, []))

    def before(self, entry: LedgerEntry) -> Iterator[tuple[str, LedgerEntry]]:
        """What happened to the same row before, newest first."""
        changes = self.rows[entry.entity, entry.entity_id]
        yield from reversed(changes[: self._positions[entry.id]])


def count(devices: list[Device], told: Told) -> Counter[str]:
    """What the devices sent, what they were told, and what the ledger says of it."""
    counts: Counter[str] = Counter(dict.fromkeys(FAULTS, 0))
    for device in devices:
        counts.update(_count_device(device, told))
    return counts


def _count_device(device: Device, told: Told) -> dict[str, int]:
    witness: Witness = device.transport  # type: ignore[assignment]
    owner = device.store.device_id
    found = {local_id: each for (sender, local_id), each in told.recorded.items() if sender == owner}
    kept = {change.local_id for change in device.store.queue} | {photo.local_id for photo in device.store.photos}
    kept |= {change.local_id for change, _ in device.store.set_aside}
    # What was refused is judged afresh when it arrives again, late; it may succeed by finding nothing left to change.
    applied = found.keys() & witness.sent.keys() - witness.refused
    return {
        "sent": len(witness.sent),
        "acknowledged": len(witness.acknowledged),
        "refused": len(witness.refused),
        "once unknown": len(witness.once_unknown),
        "unknown": len(witness.unknown),
        "replayed": witness.replayed,
        "lost": sum(each not in found for each in witness.acknowledged),
        "applied twice": sum(len(each) > 1 for each in found.values()),
        "applied though refused": sum(any(found.get(each, [])) for each in witness.refused),
        "not as sent": sum(not _is_as_sent(witness.sent[each], found[each]) for each in applied),
        "never sent": len(found.keys() - witness.sent),
        "dropped by the device": len(witness.unknown - kept),
        "overwritten unseen": sum(len(_overwritten(witness.sent[each], found[each], owner, told)) for each in applied),
    }


def _overwritten(item: Any, recorded: list[list[LedgerEntry]], owner: str, told: Told) -> set[str]:
    """Fields that an operation set over what somebody else had set since the version that it named."""
    version = (item or {}).get("data", {}).get("updated_at")
    if version is None:
        return set()
    known = datetime.fromisoformat(version)
    return {name for entry in recorded[0] for name in _foreign(entry, known, owner, told) if name in entry.changes}


def _foreign(entry: LedgerEntry, known: datetime, owner: str, told: Told) -> Iterator[str]:
    """The fields that other devices, or the office, changed after the version `known` and before `entry`."""
    for device, each in told.before(entry):
        if each.version_after is not None and each.version_after <= known:
            return
        if device != owner:
            yield from each.changes


def _is_as_sent(item: Mapping[str, Any] | None, recorded: list[list[LedgerEntry]]) -> bool:
    """Whether an operation did to the fields of its row what its item says, and to no other row."""
    if item is None or item["type"] not in ("form_fill", "inspection"):
        return True
    values = item["data"]
    fields = values.get("changes") or values.get("data")
    if fields is None:
        fields = {name: values[name] for name in ("status", "notes") if name in values}
    told = [{name: change.get("new") for name, change in entry.changes.items()} for entry in recorded[0]]
    return told == [fields]


def _entries() -> Any:
    """All changes of rows, in ledger order."""
    return select(LedgerEntry).where(LedgerEntry.viewer_id.is_(None)).order_by(LedgerEntry.id)


def check_versions(entries: Iterable[LedgerEntry]) -> None:
    """A row's versions are one unbroken, strictly increasing chain."""
    last: dict[tuple[str, str], Any] = {}
    for entry in entries:
        key = (entry.entity, entry.entity_id)
        assert entry.version_before == last.get(key), f"{key}: a version that the ledger does not know came before"
        if entry.version_before is not None and entry.version_after is not None:
            assert entry.version_after > entry.version_before, f"{key}: the version did not increase"
        last[key] = entry.version_after


def check_history(entries: Iterable[LedgerEntry]) -> None:
    """The ledger replayed from nothing gives the present state, so the last writer in its order wrote each value."""
    replayed: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in entries:
        fields = replayed.setdefault((entry.entity, entry.entity_id), {})
        for name, change in entry.changes.items():
            assert fields.get(name, "absent") == change.get("old", "absent"), f"{entry.entity_id}.{name}: {change}"
            if "new" in change:
                fields[name] = change["new"]
            else:
                fields.pop(name)
    models: tuple[Any, ...] = (Inspection, FormFill, Attachment)
    for model in models:
        entity = model.__entity__.name
        for row in db.session.scalars(select(model)):
            told, fields = replayed[entity, str(row.id)], fields_of(row)
            assert told == fields, f"{entity} {row.id}: {told} is told, {fields} is there"
