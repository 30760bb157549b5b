"""Rows as people see them: titles, labelled values, whatever plugin they are of (`Entity.title`, `Entity.labels`).

A plugin's callable that raises, or returns no labels, costs its row the labels and nothing more: the row is shown as a
plain table of its fields, and the fault is logged. Which of these values are private is not known then, so all are.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy import inspect, select, tuple_
from sqlalchemy.orm import Session

from app.clock import to_wire
from app.core.database import database_of
from app.core.database.rows import set_in_memory
from app.core.database.values import ValueSet
from app.core.host.registry import current_registry
from app.core.host.watch import is_interrupt
from app.core.values import JsonObject, is_same
from app.models import Inspection
from app.models.entities import entity_of, fields_of
from app.models.form_labels import readable
from app.models.serialize import select_shown, undeleted
from app.models.shown import instances_with_ids
from app.plugin_api import LABEL_KINDS, Entity, Label, Model, Row, recorded_columns

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: The most characters of a title.
LONGEST_TITLE = 255


@dataclass(frozen=True, kw_only=True)
class ShownValue:
    """A value of a row with its label."""

    label: Label
    #: JSON; None where there is none, or where it is hidden. For a photo a list of the attachments' ids.
    value: Any
    #: Whether there is a private value, for which the reader has not asked.
    is_hidden: bool = False

    @property
    def without_private(self) -> ShownValue:
        """The same, hidden if it is private, for a reader who has not asked for it."""
        is_hidden = self.label.private and not self.is_missing
        return replace(self, value=None, is_hidden=True) if is_hidden else self

    @property
    def is_missing(self) -> bool:
        """Whether nothing was answered."""
        return not self.is_hidden and (self.value is None or self.value == "" or self.value == [])

    @property
    def text(self) -> str:
        """The value in words: of a choice the labels of its options."""
        if self.is_hidden:
            return "hidden"
        return "" if self.value is None else words(self.value, self.label)


@dataclass(frozen=True, kw_only=True)
class ShownRow:
    """A row with its title and labelled values."""

    row: Row
    entity: Entity
    title: str
    values: list[ShownValue]

    @property
    def version(self) -> str:
        """Its present version, as the wire has it."""
        return to_wire(self.row.updated_at)

    @property
    def sections(self) -> Iterator[tuple[str, list[ShownValue]]]:
        """The values under the headings of their sections, in order; the heading may be empty."""
        for section, values in groupby(self.values, key=lambda value: value.label.section):
            yield section, list(values)

    def was_private(self, name: str) -> bool:
        """Whether an earlier value of a field is private.

        A key that the document has no longer has no label. Nobody can tell then, where the row has private values.
        """
        private = {value.label.name for value in self.values if value.label.private}
        is_known = any(value.label.name == name for value in self.values) or name in recorded_columns(
            self.row.__class__
        )
        return name in private or (bool(private) and not is_known)


def models_shown() -> list[Model]:
    """The models whose rows stand below inspections, the core's first, then plugins' by the entities' names."""
    models: Iterable[Model] = current_registry().models.values()
    below = [model for model in models if model is not Inspection and hasattr(model, "inspection_id")]
    return sorted(below, key=lambda model: (not model.__module__.startswith("app."), entity_of(model).name))


def rows_below(
    session: Session, root: Row, model: Model, *, after: Any = None, most: int = 50
) -> tuple[list[Row], Any]:
    """At most `most` rows of a model below an inspection, by id, and the id after which the next ones stand, or None.

    Takes two statements, and one for each relationship that the entity loads.
    """
    key = inspect(model).primary_key[0]
    conditions = [model.inspection_id == root.id, *undeleted(model), *([] if after is None else [key > after])]
    ids = list(session.scalars(select(key).where(*conditions).order_by(key).limit(most + 1)))
    rows = list(session.scalars(select_shown(model).where(key.in_(ids[:most])).order_by(key))) if ids else []
    return _below({root.id: root}, rows), ids[most - 1] if len(ids) > most else None


def inspections_with_ids(session: Session, ids: Collection[int]) -> dict[int, Row]:
    """The inspections with these ids that are still there; one statement."""
    return {root.id: root for root in instances_with_ids(session, Inspection, ids, loads=())}


def keys_below(
    session: Session, roots: Mapping[int, Row], model: Model, *, after: tuple[int, Any] | None = None, most: int = 50
) -> list[tuple[int, Any]]:
    """At most `most` rows of a model below inspections: the inspection's id and their own, in this order, after a pair.

    One statement.
    """
    if not roots:
        return []
    database = database_of(session)
    order = (model.inspection_id, inspect(model).primary_key[0])
    conditions = [database.among(model.inspection_id, ValueSet.of("roots", roots)), *undeleted(model)]
    if after is not None:
        conditions.append(tuple_(*order) > after)
    statement = select(*order).where(*conditions).order_by(*order).limit(most)
    found = session.execute(statement, {"roots": database.parameter_of(roots)})
    return [(root_id, key) for root_id, key in found]


def rows_with_keys(
    session: Session, roots: Mapping[int, Row], model: Model, keys: Sequence[tuple[int, Any]]
) -> list[Row]:
    """The rows of these keys that are still there, in their order, as `show_row` needs them.

    One statement, and one for each relationship that the entity loads.
    """
    rows = {row.id: row for row in instances_with_ids(session, model, [key for _, key in keys])}
    return _below(roots, [rows[key] for _, key in keys if key in rows])


def _below(roots: Mapping[int, Row], rows: list[Row]) -> list[Row]:
    """The rows, with their inspections in memory, where policies and plugins' titles read them."""
    for row in rows:
        set_in_memory(row, {"inspection": roots[row.inspection_id]})
    return rows


def show(rows: Iterable[Row]) -> list[ShownRow]:
    """Rows with title and values. Each was loaded with what its entity `loads`; nothing more is read."""
    return [show_row(row) for row in rows]


def show_row(row: Row) -> ShownRow:
    """A row with its title and its values, by its entity's declarations as far as these can be used."""
    return ShownRow(row=row, entity=entity_of(row), title=title_of(row), values=_values_of(row))


def without_private(shown: ShownRow) -> ShownRow:
    """The row with its private values hidden, for a reader who has not asked for them. `row` itself still has them."""
    return replace(shown, values=[value.without_private for value in shown.values])


def may_have_private(entity: str) -> bool:
    """Whether a row that is gone may have had private values: only rows that are there tell their labels."""
    model: Model | None = current_registry().models.get(entity)
    return model is None or entity_of(model).labels is not None


def title_of(row: Row) -> str:
    """The title of a row: its entity's, otherwise the entity's label and the row's id."""
    entity = entity_of(row)
    plain = f"{entity.label} {row.id}"
    return plain if entity.title is None else _guarded("title", row, lambda: declared_title(row), plain)


def declared_title(row: Row) -> str:
    """The title that a row's entity declares. Raises what the plugin's code raises, and `TypeError`."""
    title = entity_of(row).title(row)  # type: ignore[misc]
    if not isinstance(title, str) or not title.strip():
        raise TypeError(f"`title` returned {title!r:.100}; a text is needed.")
    return title[:LONGEST_TITLE]


def declared_labels(row: Row) -> Sequence[Label]:
    """The labels that a row's entity declares. Raises what the plugin's code raises, and `TypeError`."""
    labels = entity_of(row).labels(row)  # type: ignore[misc]
    if isinstance(labels, str) or not isinstance(labels, Sequence) or not all(map(_is_label, labels)):
        raise TypeError(f"`labels` returned {labels!r:.100}; a sequence of Label(…) is needed.")
    return labels


def _is_label(label: object) -> bool:
    if not isinstance(label, Label) or label.kind not in LABEL_KINDS:
        return False
    texts = (label.name, label.label, label.section, label.unit)
    pairs = label.options
    are_pairs = isinstance(pairs, list | tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs)
    return are_pairs and all(isinstance(text, str) for text in (*texts, *(text for _, text in pairs)))


def _values_of(row: Row) -> list[ShownValue]:
    entity = entity_of(row)
    fields = fields_of(row)
    if entity.expose is not None:
        fields |= _guarded("expose", row, lambda: dict(entity.expose(row, dict(fields))), {})  # type: ignore[misc]
    labels: Sequence[Label] | None = []
    if entity.labels is not None:
        labels = _guarded("labels", row, lambda: declared_labels(row), None)
    return [ShownValue(label=label, value=fields.get(label.name)) for label in _completed(row, labels, fields)]


def _completed(row: Row, declared: Sequence[Label] | None, fields: JsonObject) -> list[Label]:
    """The labels, and plain ones for what they leave out: all fields without any, otherwise the document's keys.

    A column without a label is left out on purpose; of a document's keys an author cannot know them all. `declared`:
    None where the declaration failed, so that nobody can tell which values are private.
    """
    entity, labels = entity_of(row), declared or []
    named = {label.name for label in labels}
    shown = fields if not labels else getattr(row, entity.document) if entity.document else ()
    plain = (_plain(name, fields.get(name), is_private=declared is None) for name in shown if name not in named)
    return [*labels, *plain]


def _plain(name: str, value: object, *, is_private: bool) -> Label:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Label(name=name, label=readable(name), kind="number" if is_number else "text", private=is_private)


def _guarded(part: str, row: Row, call: Callable[[], T], fallback: T) -> T:
    try:
        return call()
    except BaseException as error:  # a plugin's code may raise anything
        if is_interrupt(error):
            raise
        logger.exception("%s failed", part, extra={"entity": entity_of(row).name, "id": row.id})
        return fallback


def words(value: object, label: Label | None = None) -> str:
    """A value in the words of people: of a choice the label of its option; of objects and lists, what they hold."""
    for option, text in () if label is None else label.options:
        if is_same(option, value):
            return text
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{readable(str(key))}: {words(part)}" for key, part in value.items() if part)
    if isinstance(value, list):
        return ", ".join(words(part, label) for part in value if part is not None)
    return value.isoformat() if isinstance(value, dt.date) else str(value)
