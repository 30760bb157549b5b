"""One item that was not applied, as pages show it: its fields with the values of all sides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from flask import request
from sqlalchemy import select

from app import policies
from app.administration import (
    PastChange,
    RowName,
    ShownRow,
    ShownValue,
    among,
    changes_of,
    label_of_type,
    readable,
    rows_named,
    show_row,
)
from app.administration.set_aside import sent_fields, show_set_aside
from app.models import Device, Inspection, db
from app.plugin_api import Label
from app.web import signed_in_user
from fieldpost_console.pages.inspection import visible_inspection
from fieldpost_console.pages.typed import PICTURES, Field, as_text, typed_text

#: The values of a label that has none but true and false.
YES_NO = ((True, "yes"), (False, "no"))


class Subject(NamedTuple):
    """An item with everything around it that its page shows."""

    #: As `show_set_aside` returns it.
    item: dict[str, Any]
    what: str
    #: The device's name, if it has reported one.
    device: str | None
    #: The inspection, the row as it is now, and its newest change, as far as they are known.
    root: Inspection | None
    shown: ShownRow | None
    newest: PastChange | None
    may_decide: bool

    @property
    def is_open(self) -> bool:
        """Whether somebody still has to decide."""
        return bool(self.item["state"] == "open")

    @property
    def can_be_applied(self) -> bool:
        """Whether the user may decide it, and the item itself is kept."""
        return self.is_open and self.may_decide and self.item["item"] is not None

    @property
    def version(self) -> str:
        """The version of the row that the page shows; empty: there is no row."""
        return str(self.item["present"]["updated_at"]) if self.item["present"] else ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A field of an item: its values, and the field of the form in which another one is typed."""

    #: None: the value is not known.
    before: ShownValue | None
    sent: ShownValue
    present: ShownValue | None
    input: Field | None
    #: `device`, `server`: that side alone has changed it. `same`: both have the same value. `both`: they differ.
    changed_by: str
    #: `before`, `device`, `server` or `own`; empty: nothing is chosen yet.
    choice: str = ""
    faults: list[str] = field(default_factory=list)

    @property
    def label(self) -> Label:
        """The field's label."""
        return self.sent.label

    @property
    def can_be_as_before(self) -> bool:
        """Whether the value before is known and can be chosen. Pictures may have been deleted since."""
        return self.before is not None and self.input is not None

    @property
    def can_be_typed(self) -> bool:
        """Whether the page has a field for another value. It would show the one that was sent."""
        return self.input is not None and not self.sent.is_hidden

    @property
    def without_private(self) -> Line:
        """The same, hidden if it is private, for a reader who has not asked for it."""
        before, present = self.before and self.before.without_private, self.present and self.present.without_private
        return replace(self, before=before, sent=self.sent.without_private, present=present)

    @property
    def choice_name(self) -> str:
        """The name of its choice in the form."""
        return f"choice.{self.label.name}"


def subject_of(key: str) -> Subject:
    """The item with this id. Raises `NotFoundError` unless the user may see it."""
    user = signed_in_user()
    item = show_set_aside(user, key)
    root = visible_inspection(item["inspection_id"]) if item["inspection_id"] is not None else None
    shown, newest = None, None
    if root is not None and item["entity"] is not None and item["entity_id"] is not None:
        name = RowName(item["entity"], item["entity_id"])
        row = rows_named(db.session(), root, [name]).get(name)
        shown = None if row is None else show_row(row)
        changes = changes_of(db.session(), root.id, name, most=1).changes
        newest = changes[0] if changes else None
    return Subject(
        item=item,
        what=label_of_type(item["type"]),
        device=names_of_devices([item]).get((item["user"] or {}).get("id", 0), {}).get(item["device_id"]),
        root=root,
        shown=shown,
        newest=newest,
        may_decide=policies.is_admin(user) or (root is not None and root.owner_id == user.id),
    )


def names_of_devices(items: Iterable[Mapping[str, Any]]) -> dict[int, dict[str, str]]:
    """User id -> device id -> the name that the device has reported; a statement if devices are named."""
    ids = {item["device_id"] for item in items if item["device_id"] is not None}
    statement = select(Device.user_id, Device.device_id, Device.name).where(among(Device.device_id, ids))
    names: dict[int, dict[str, str]] = {}
    for row in db.session.execute(statement) if ids else ():
        if row.name:
            names.setdefault(row.user_id, {})[row.device_id] = row.name
    return names


def lines_of(subject: Subject) -> list[Line]:
    """The fields that the item sets, in the order of the row's labels."""
    item = subject.item
    seen = item["seen"] or {}
    sent = seen.get("mine") or sent_fields(item)
    return list(_lines(subject, sent, seen.get("base"), item["present"] and item["present"]["data"]))


def _lines(subject: Subject, sent: dict[str, Any], base: Any, present: Any) -> Iterator[Line]:
    labels = {value.label.name: value.label for value in (subject.shown.values if subject.shown else ())}
    private = frozenset(subject.item["private"])
    places = {name: place for place, name in enumerate(labels)}
    for name in sorted(sent, key=lambda name: places.get(name, len(places))):
        label = _label(name, labels.get(name), sent[name], (present or {}).get(name))
        label = replace(label, private=name in private)
        before = None if base is None else ShownValue(label=label, value=base.get(name))
        now = None if present is None else ShownValue(label=label, value=present.get(name))
        mine = ShownValue(label=label, value=sent[name])
        changed_by = _changed_by(before, mine, now)
        yield Line(
            before=before,
            sent=mine,
            present=now,
            input=_input(mine),
            changed_by=changed_by,
            choice={"both": "", "device": "device"}.get(changed_by, "server"),
        )


def _label(name: str, label: Label | None, *values: Any) -> Label:
    label = label or Label(name=name, label=readable(name), kind="number" if _is_number(values[0]) else "text")
    is_yes_no = label.kind != "choice" and any(isinstance(value, bool) for value in values)
    return replace(label, kind="choice", options=YES_NO) if is_yes_no else label


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _changed_by(before: ShownValue | None, sent: ShownValue, present: ShownValue | None) -> str:
    """Which side has changed a field, as far as the version before is known."""
    if present is None:
        return "device"
    if sent.value == present.value:
        return "same"
    if before is None:
        return "both"
    return "device" if before.value == present.value else "server" if before.value == sent.value else "both"


def _input(sent: ShownValue) -> Field | None:
    """The field in which another value is typed; None for pictures."""
    if sent.label.kind in PICTURES:
        return None
    return Field(label=sent.label, seen=sent.value, typed=as_text(sent.value, sent.label), faults=[])


def typed_again(lines: Iterable[Line], faults: Mapping[str, list[str]]) -> list[Line]:
    """The fields with what the form of this request has chosen and typed, and with their faults."""
    return [_typed_again(line, faults.get(line.label.name, [])) for line in lines]


def _typed_again(line: Line, faults: list[str]) -> Line:
    choice = request.form.get(line.choice_name, "")
    if line.input is None:
        return replace(line, choice=choice, faults=faults)
    typed = typed_of(line)
    kept = replace(line.input, typed=line.input.typed if typed is None else typed, faults=faults)
    return replace(line, choice=choice, input=kept, faults=faults)


def typed_of(line: Line) -> str | None:
    """What was typed for a field; None: the form did not have it."""
    return None if line.input is None else typed_text(line.sent.value, line.label)
