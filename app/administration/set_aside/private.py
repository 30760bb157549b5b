"""Private values of items that were not applied: left out until the reader asks for them (contract, section 12).

The labels of the row that an item is about tell which of its values are private. Without the row nobody can tell, and
all of them count as private.
"""

from __future__ import annotations

from collections.abc import Collection

from app.administration.rows import may_have_private, show_row
from app.administration.set_aside.sent import item_without, names_in
from app.core.values import JsonObject
from app.models.entities import Row

#: The sides of a conflict.
SIDES = ("mine", "base", "theirs")


def private_fields(shown: JsonObject, row: Row | None) -> list[str]:
    """The names of the private fields in what `show_set_aside` shows. `row`: the item's row, as `show_row` needs it."""
    names = names_in(shown)
    for side in _sides(shown).values():
        names |= side.keys()
    if row is None:
        return sorted(names) if may_have_private(shown["entity"] or "") else []
    labelled = show_row(row)
    return sorted(name for name in names if labelled.was_private(name))


def without_private(shown: JsonObject) -> JsonObject:
    """What `show_set_aside` shows, without the values of the fields that `private` names."""
    names = frozenset(shown["private"])
    sides = {place: _without(side, names) for place, side in _sides(shown).items()}
    seen, present = shown["seen"], shown["present"]
    return {
        **shown,
        "item": item_without(shown, names),
        "seen": None if seen is None else {**seen, **{side: sides[side] for side in SIDES if side in sides}},
        "present": None if present is None else {**present, "data": sides["present"]},
    }


def _sides(shown: JsonObject) -> dict[str, JsonObject]:
    """The objects of fields around the item: those of the conflict's sides that are known, and the present row's."""
    seen, present = shown["seen"] or {}, shown["present"]
    sides = {side: seen[side] for side in SIDES if seen.get(side) is not None}
    return sides if present is None else {**sides, "present": present["data"]}


def _without(fields: JsonObject, names: Collection[str]) -> JsonObject:
    return {name: value for name, value in fields.items() if name not in names}
