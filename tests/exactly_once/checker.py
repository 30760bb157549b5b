"""What must hold after anything that a network and processes may do: checked against the database itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from flask import Flask
from sqlalchemy import select

from app.extensions import db
from app.ledger.record import fields_of
from app.models import Attachment, FormFill, Inspection, LedgerEntry, LedgerOperation
from tests.device import Device


def check(app: Flask, devices: Iterable[Device]) -> Counter[str]:
    """Raise `AssertionError` unless each change counts once and nothing acknowledged is lost; the counts."""
    with app.app_context():
        operations = list(db.session.scalars(select(LedgerOperation).where(LedgerOperation.door == "sync")))
        entries = list(db.session.scalars(select(LedgerEntry).where(LedgerEntry.viewer_id.is_(None))))
        changing = {(entry.unit_id, entry.position) for entry in entries}
        counts = _check_operations(operations, changing, list(devices))
        _check_versions(entries)
        _check_history(entries)
        db.session.remove()
    return counts


def outcomes(device: Device) -> tuple[set[str], set[str]]:
    """The local_ids of which the device was told that they were applied, and those that were refused for good."""
    applied = {entry["local_id"] for entry in device.entries if "conflict_data" not in entry and "code" not in entry}
    refused = {
        entry["local_id"] for entry in device.entries if "conflict_data" in entry or entry.get("retryable") is False
    }
    return applied, refused - applied


def _check_operations(
    operations: list[LedgerOperation], changing: set[tuple[str, int]], devices: list[Device]
) -> Counter[str]:
    recorded = Counter((each.device_id, each.local_id) for each in operations)
    # What was refused is judged afresh when it arrives again, late; then it may find nothing left to change.
    effective = {(each.device_id, each.local_id) for each in operations if (each.unit_id, each.position) in changing}
    counts: Counter[str] = Counter(recorded=len(operations))
    for device in devices:
        name = device.store.device_id
        applied, refused = outcomes(device)
        waiting = {each.local_id for each in device.store.queue}
        counts += Counter(
            acknowledged=len(applied),
            refused=len(refused),
            replayed=sum(bool(entry.get("replayed")) for entry in device.entries),
            unknown=sum(each.sent is not None for each in device.store.queue),
            lost=sum(recorded[name, each] == 0 for each in applied),
            twice=sum(recorded[name, each] > 1 for each in applied | waiting),
            resurrected=sum((name, each) in effective for each in refused),
        )
        known = applied | waiting | refused
        strangers = [local_id for (owner, local_id) in recorded if owner == name and local_id not in known]
        counts["strangers"] += len(strangers)
    wrong = {name: counts[name] for name in ("lost", "twice", "resurrected", "strangers") if counts[name]}
    assert not wrong, f"{wrong} of {dict(counts)}"
    return counts


def _check_versions(entries: list[LedgerEntry]) -> None:
    """A row's versions are one unbroken, strictly increasing chain."""
    last: dict[tuple[str, str], Any] = {}
    for entry in sorted(entries, key=lambda each: each.id):
        key = (entry.entity, entry.entity_id)
        assert entry.version_before == last.get(key), f"{key}: a version that the ledger does not know came before"
        if entry.version_before is not None and entry.version_after is not None:
            assert entry.version_after > entry.version_before, f"{key}: the version did not increase"
        last[key] = entry.version_after


def _check_history(entries: list[LedgerEntry]) -> None:
    """The ledger replayed from nothing gives the present state, so the last writer in its order wrote each value."""
    replayed: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in sorted(entries, key=lambda each: each.id):
        fields = replayed.setdefault((entry.entity, entry.entity_id), {})
        for name, change in entry.changes.items():
            assert fields.get(name, "absent") == change.get("old", "absent"), f"{entry.entity_id}.{name}: {change}"
            if "new" in change:
                fields[name] = change["new"]
            else:
                fields.pop(name)
    for model in (Inspection, FormFill, Attachment):
        entity = model.__entity__.name
        present = {str(row.id): fields_of(row) for row in db.session.scalars(select(model))}
        for key, fields in present.items():
            told = replayed[entity, key]
            assert told == fields, f"{entity} {key}: {told} is told, {fields} is there"
