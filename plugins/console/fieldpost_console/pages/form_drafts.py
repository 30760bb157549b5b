"""The fields of a form while it is designed: read from the page's form, moved about, and made into a structure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fieldpost_console.pages.form_preview import label_of

#: The parts of a field in the page's form. Those of the structure have its names.
PARTS = ("name", "type", "label_name", "section_name", "unit", "private", "options", "origin")

#: The parts that are texts of the structure's field, each left out where it is empty.
TEXTS = ("label_name", "section_name", "unit")

#: A structure's field.
Field = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A field as it was typed."""

    name: str = ""
    type: str = "text"
    label_name: str = ""
    section_name: str = ""
    unit: str = ""
    #: The value of the ticked box; empty: it is not ticked.
    private: str = ""
    #: One option a line.
    options: str = ""
    #: The place of the field in the older version that it comes from.
    origin: str = ""


def drafts_of(structure: Sequence[Field]) -> list[Draft]:
    """The fields of an older version."""
    return [_draft_of(field, place) for place, field in enumerate(structure)]


def _draft_of(field: Field, place: int) -> Draft:
    texts = {part: str(field.get(part) or "") for part in ("name", "type", *TEXTS)}
    private = "1" if label_of(field).private else ""
    return Draft(**texts, private=private, options=_lines_of(field), origin=str(place))


def read_drafts(form: Mapping[str, str], most: int) -> list[Draft]:
    """The fields of the page's form, `most` of them at most."""
    count = form.get("count", "")
    places = range(min(int(count), most) if re.fullmatch(r"[0-9]{1,6}", count) else 0)
    return [Draft(**{part: form.get(f"field-{place}-{part}", "") for part in PARTS}) for place in places]


def structure_of(drafts: Sequence[Draft], older: Sequence[Field]) -> list[dict[str, Any]]:
    """The structure of these fields; `older` is that of the version they come from."""
    return [_field_of(draft, older) for draft in drafts]


def _field_of(draft: Draft, older: Sequence[Field]) -> dict[str, Any]:
    field: dict[str, Any] = {"name": draft.name if draft.name.strip() else name_of(draft.label_name)}
    field["type"] = draft.type
    field |= {part: text for part in TEXTS if (text := getattr(draft, part)) and not text.isspace()}
    field |= {"private": True} if draft.private else {}
    options = _options_of(draft, older)
    return {**field, "options": options} if options else field


def name_of(label: str) -> str:
    """A field's name made of its label: `Static pressure (psi)` -> `Static_pressure_psi`."""
    return re.sub(r"\W+", "_", label).strip("_")


def _options_of(draft: Draft, older: Sequence[Field]) -> list[Any]:
    """The options of a field. Those of the older version keep their shape, which template and app agree on."""
    field = _origin(draft, older)
    text = draft.options.replace("\r\n", "\n")
    if text == _lines_of(field):
        return list(field.get("options") or ())
    kept = dict(_options_by_line(field))
    return [kept.get(line, line) for line in map(str.strip, text.split("\n")) if line]


def _origin(draft: Draft, older: Sequence[Field]) -> Field:
    place = int(draft.origin) if re.fullmatch(r"[0-9]{1,6}", draft.origin) else len(older)
    return older[place] if place < len(older) else {}


def _lines_of(field: Field) -> str:
    return "\n".join(line for line, _option in _options_by_line(field))


def _options_by_line(field: Field) -> list[tuple[str, Any]]:
    """The options of a structure's field, each with its text in one line."""
    options = field.get("options")
    if not isinstance(options, list):
        return []
    texts = (text for _value, text in label_of(field).options)
    return [(" ".join(text.split()), option) for text, option in zip(texts, options, strict=True)]


def apply(drafts: Sequence[Draft], do: str) -> tuple[list[Draft], str]:
    """The fields after one of the page's buttons, `add`, `up-2`, `down-2` or `remove-2`, and the id to focus."""
    verb, _, text = do.partition("-")
    place = int(text) if re.fullmatch(r"[0-9]{1,6}", text) else -1
    if verb == "add":
        section = drafts[-1].section_name if drafts else ""
        return [*drafts, Draft(section_name=section)], f"field-{len(drafts)}-label_name"
    if verb == "remove" and 0 <= place < len(drafts):
        left = [*drafts[:place], *drafts[place + 1 :]]
        return left, f"field-{min(place, len(left) - 1)}-label_name" if left else "add"
    target = place + {"up": -1, "down": 1}.get(verb, 0)
    if target != place and 0 <= place < len(drafts) and 0 <= target < len(drafts):
        return _moved(drafts, place, target), _button(verb, target, len(drafts))
    return list(drafts), ""


def _moved(drafts: Sequence[Draft], place: int, target: int) -> list[Draft]:
    moved = list(drafts)
    moved.insert(target, moved.pop(place))
    return moved


def _button(verb: str, place: int, count: int) -> str:
    """The id of the button that moves a field on; at an end, of the one that moves it back."""
    if verb == "up":
        return f"field-{place}-{'up' if place > 0 else 'down'}"
    return f"field-{place}-{'down' if place < count - 1 else 'up'}"
