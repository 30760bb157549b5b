"""Values in forms: the field in which a value is typed or chosen, by its label, and what was typed as a value.

What a field holds is a text: for a choice its option as JSON, for a choice of several a JSON list of options, for other
lists and objects JSON of several lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from flask import request

from app.administration import words
from app.pages import gettext as _
from app.plugin_api import Label

#: A number as people type it.
NUMBER = re.compile(r"[+-]?(\d+)?([.,]\d+)?", re.ASCII)

DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

#: A text of more characters, or of several lines, gets a field of several lines.
LONGEST_LINE = 80

#: Kinds of values that are not typed.
PICTURES = ("photo", "signature")

#: Prefixes of a form's fields: what was typed, the value of the version that was seen, as JSON, and that there are
#: boxes, because a browser sends nothing of boxes that are not ticked.
TYPED, SEEN, BOXES = "value.", "seen.", "boxes."


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field of the form."""

    label: Label
    #: The value of the version that the form stands on.
    seen: Any
    #: What the field holds: the value as text, or what the person has typed.
    typed: str
    faults: list[str]
    #: The value before, and the present one, where somebody else has changed the field, too.
    before: str | None = None
    present: str | None = None

    @property
    def name(self) -> str:
        """Its name in the form."""
        return TYPED + self.label.name

    @property
    def boxes_name(self) -> str:
        """The name of the form's memory that it has boxes."""
        return BOXES + self.label.name

    @property
    def seen_json(self) -> str:
        """The value of the version seen, for the form's own memory."""
        return json.dumps(self.seen)

    @property
    def control(self) -> str:
        """How it is drawn: `boxes`, `choice`, `json`, `lines`, `date`, `number` or `text`."""
        if _takes_several(self.seen, self.label):
            return "boxes"
        if self.label.kind == "choice":
            return "choice"
        if isinstance(self.seen, list | dict):
            return "json"
        if self.label.kind == "text" and (len(self.typed) > LONGEST_LINE or "\n" in self.typed):
            return "lines"
        if self.label.kind == "date":
            # A browser's calendar takes nothing but days.
            return "date" if not self.typed or DAY.fullmatch(self.typed) else "text"
        return "number" if self.label.kind == "number" else "text"

    @property
    def choices(self) -> list[tuple[str, str]]:
        """The options of a choice; a value that is none of them stands last."""
        options = [("", "–"), *((json.dumps(value), text) for value, text in self.label.options)]
        is_known = any(value == self.typed for value, _text in options)
        return options if is_known else [*options, (self.typed, _choice_text(self.typed))]

    @property
    def boxes(self) -> list[tuple[str, str, bool]]:
        """The options of a choice of several, each with its text and whether it is ticked; strange ones stand last."""
        ticked = _options_in(self.typed)
        known = {json.dumps(value): text for value, text in self.label.options}
        strange = {option: _choice_text(option) for option in (*_options_of(self.seen), *ticked) if option not in known}
        return [(option, text, option in ticked) for option, text in (known | strange).items()]


def as_text(value: object, label: Label) -> str:
    """A value as its field of the form holds it."""
    if _takes_several(value, label):
        return json.dumps(_options_of(value))
    if value is None:
        return ""
    if label.kind == "choice":
        return json.dumps(value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, indent=2)
    return value.replace("\r\n", "\n") if isinstance(value, str) else words(value)


def typed_text(seen: object, label: Label) -> str | None:
    """What the request's form has for a field; None: the form did not have the field."""
    name = TYPED + label.name
    if _takes_several(seen, label):
        is_there = BOXES + label.name in request.form
        return json.dumps(_in_order(request.form.getlist(name), seen, label)) if is_there else None
    text = request.form.get(name)
    # Browsers send line breaks as CR LF.
    return None if text is None else text.replace("\r\n", "\n")


def read_typed(typed: str, seen: object, label: Label) -> Any:
    """The value that was typed. Raises `ValueError` with a sentence."""
    if _takes_several(seen, label):
        known = _known(label) | {option: json.loads(option) for option in _options_of(seen)}
        return [_option(option, known) for option in _options_in(typed)]
    if label.kind == "choice":
        return _option(typed, _known(label)) if typed else None
    if not typed.strip():
        return "" if isinstance(seen, str) and label.kind == "text" else None
    if isinstance(seen, list | dict):
        return _read_json(typed)
    is_number = label.kind == "number" or (isinstance(seen, int | float) and not isinstance(seen, bool))
    return _read_number(typed.strip()) if is_number else typed


def flat_faults(details: Any, name: str = "") -> list[tuple[str, list[str]]]:
    """Field -> messages, however deep the schema names the field."""
    if isinstance(details, Mapping):
        return [pair for key, inner in details.items() for pair in flat_faults(inner, str(key))]
    return [(name, [str(message) for message in (details if isinstance(details, list) else [details])])]


def _takes_several(value: object, label: Label) -> bool:
    """Whether several of the label's options are chosen: the label says so, or the value is a list."""
    return bool(label.options) and not isinstance(value, dict) and (label.multiple or isinstance(value, list))


def _options_of(value: object) -> list[str]:
    """The chosen options, each as JSON and once."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    return list(dict.fromkeys(map(json.dumps, values)))


def _options_in(typed: str) -> list[str]:
    """The options in the text of a choice of several."""
    try:
        options = json.loads(typed)
    except ValueError:
        return []
    return [str(option) for option in options] if isinstance(options, list) else []


def _in_order(ticked: Iterable[str], seen: object, label: Label) -> list[str]:
    """Ticked options: those that were chosen before in their order, then the others in that of the label."""
    ticked = list(dict.fromkeys(ticked))
    places = {option: place for place, option in enumerate(dict.fromkeys([*_options_of(seen), *_known(label)]))}
    return sorted(ticked, key=lambda option: places.get(option, len(places)))


def _known(label: Label) -> dict[str, Any]:
    return {json.dumps(value): value for value, _text in label.options}


def _option(option: str, known: Mapping[str, Any]) -> Any:
    if option not in known:
        raise ValueError(_("Choose one of the options."))
    return known[option]


def _choice_text(typed: str) -> str:
    try:
        return words(json.loads(typed))
    except ValueError:
        return typed


def _read_json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = {"line": error.lineno, "column": error.colno}
        raise ValueError(_("This is not valid JSON: look at line %(line)s, character %(column)s.", **place)) from None
    except (ValueError, RecursionError):
        raise ValueError(_("This is not valid JSON: a number is too large, or it is nested too deeply.")) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _read_number(text: str) -> int | float:
    match = NUMBER.fullmatch(text)
    if match is None or not any(match.groups()):
        raise ValueError(_("This is not a number."))
    return float(text.replace(",", ".")) if match[2] else int(text[:40])
