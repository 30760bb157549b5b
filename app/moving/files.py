"""Stored files copied from one storage to another. Objects never change, so that those of the right size are there."""

from __future__ import annotations

from collections.abc import Mapping

from app.attachments.storage.protocol import Storage
from app.moving.database import Bar, MoveError


def move_files(source: Storage, target: Storage, bar: Bar) -> int:
    """Copy all objects that the target does not have; returns how many the source has. Raises `MoveError`."""
    wanted = _sizes(source)
    present = _sizes(target)
    with bar("files", len(wanted)) as told:
        for key, size in wanted.items():
            if present.get(key) != size:
                target.put(key, b"".join(source.open(key)))
            told(1)
    _require_all(wanted, _sizes(target))
    return len(wanted)


def _sizes(storage: Storage) -> dict[str, int]:
    return {stored.key: stored.byte_size for stored in storage.list()}


def _require_all(wanted: Mapping[str, int], present: Mapping[str, int]) -> None:
    for key, size in wanted.items():
        if present.get(key) != size:
            raise MoveError(f"{key} has not arrived at the target as it is. Run the same command again.")
