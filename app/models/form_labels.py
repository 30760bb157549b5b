"""The labels of a form fill's values: those of its template's structure, and those of rows that a device has repeated.

A structure names the first row of a group (`Location_row_1`); a device counts on for each further row
(`Location_row_2`), whose values have the labels of the first one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from app.plugin_api import Label

#: A field of a repeated row: its name without the row, and the row's number.
ROW = re.compile(r"(.+)_row_(\d{1,6})", re.DOTALL)

#: A field's `type` -> the kind of its values; all others are texts.
KINDS = {
    "number": "number",
    "integer": "number",
    "decimal": "number",
    "date": "date",
    "select": "choice",
    "multiselect": "choice",
    "radio": "choice",
    "checkbox": "choice",
    "boolean": "choice",
    "yes_no": "choice",
    "photo": "photo",
    "signature": "signature",
}

#: The types of which several options can be chosen.
MULTIPLE = ("multiselect", "checkbox")

#: The types that fields can be given; a template of an app may have further ones.
FIELD_TYPES = ("text", "textarea", *KINDS)

#: The kinds whose values are attachments. These stand under a key of the server's (contract, section 4).
ATTACHED = ("photo", "signature")


def form_labels(structure: Sequence[Mapping[str, Any]], names: Iterable[str]) -> list[Label]:
    """The labels of a form with this structure, in its order, whose data have these names as they are shown.

    Values that the structure does not know stand last, under their own names.
    """
    return StructureLabels(structure).of(names)


class StructureLabels:
    """The labels of a structure, made once for all forms that have it."""

    def __init__(self, structure: Sequence[Mapping[str, Any]]) -> None:
        self._labels = {label.name: label for label in map(_label_of, structure)}
        self._places = {name: place for place, name in enumerate(self._labels)}
        #: The label of the first row, for each group of a repeated row's values.
        self._rows = {
            match[1]: label for label in reversed(self._labels.values()) if (match := ROW.fullmatch(_field_of(label)))
        }

    def of(self, names: Iterable[str]) -> list[Label]:
        """The labels of a form whose data have these names, as `form_labels` orders them."""
        unknown = [name for name in names if name not in self._labels]
        if not unknown:
            return [*self._labels.values()]
        repeated = {name: label for name in unknown if (label := _repeated(name, self._rows)) is not None}
        strange = (_strange(name) for name in unknown if name not in repeated)
        return [*self._labels.values(), *sorted(repeated.values(), key=self._place_of), *strange]

    def _place_of(self, label: Label) -> tuple[int, int]:
        """The place of a further row's value: by the row, and in it like the first row."""
        return _row_number(label), self._places[self._rows[_group_of(label)].name]


def _label_of(field: Mapping[str, Any]) -> Label:
    name = str(field["name"])
    options = [*_options(field.get("options"))]
    kind = KINDS.get(str(field.get("type")), "choice" if options else "text")
    return Label(
        name=_shown_name(name, kind),
        label=str(field.get("label_name") or readable(ROW.sub(r"\1", name))),
        section=str(field.get("section_name") or ""),
        unit=str(field.get("unit") or ""),
        kind=kind,
        options=options,
        multiple=bool(options) and field.get("type") in MULTIPLE,
        private=field.get("private") is True,
    )


def _options(sent: object) -> Iterator[tuple[Any, str]]:
    """The options of a field, whose shape template and app agree on: texts, or objects with `value` and `label`."""
    for option in sent if isinstance(sent, list) else ():
        if isinstance(option, Mapping):
            value = option.get("value", option.get("label"))
            yield value, str(option.get("label", value))
        else:
            yield option, str(option)


def _shown_name(name: str, kind: str) -> str:
    return f"{name}_{kind}_attachment_id" if kind in ATTACHED else name


def _field_of(label: Label) -> str:
    """The name of a label's field in the structure."""
    return label.name.removesuffix(f"_{label.kind}_attachment_id") if label.kind in ATTACHED else label.name


def _group_of(label: Label) -> str:
    return ROW.sub(r"\1", _field_of(label))


def _row_number(label: Label) -> int:
    match = ROW.fullmatch(_field_of(label))
    return int(match[2]) if match else 0


def _repeated(name: str, rows: Mapping[str, Label]) -> Label | None:
    """The label of a further row's value; None where no first row has it."""
    strange = _strange(name)
    match = ROW.fullmatch(_field_of(strange))
    first = rows.get(match[1]) if match else None
    if match is None or first is None or (strange.kind in ATTACHED and strange.kind != first.kind):
        return None
    section = f"{first.section} {match[2]}".strip()
    return replace(first, name=_shown_name(_field_of(strange), first.kind), section=section)


@lru_cache(maxsize=1024)
def _strange(name: str) -> Label:
    """The label of a value that the structure does not know."""
    kind = next((kind for kind in ATTACHED if name.endswith(f"_{kind}_attachment_id")), "text")
    field = name.removesuffix(f"_{kind}_attachment_id") if kind in ATTACHED else name
    return Label(name=name, label=readable(field), kind=kind)


def readable(name: str) -> str:
    """A field's name as words: `Static_pressure` -> `Static pressure`."""
    words = name.replace("_", " ").strip() or name
    return words[:1].upper() + words[1:]
