"""Rows to show, made of columns: the ORM takes several times as long for a page or a package of them.

They have the attributes of their models and belong to no session. What `serialize` reads of other rows is read in one
query for each relationship.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session

from app.core.database import Database, database_of
from app.core.database.rows import detached, row_columns, set_in_memory, table_of
from app.core.database.values import ValueSet
from app.core.values import Values
from app.models.attachments import Attachment
from app.models.entities import entity_of
from app.models.form_fills import FormFill
from app.models.form_templates import FormTemplate
from app.models.inspections import Inspection
from app.models.serialize import select_shown, undeleted
from app.models.users import User
from app.plugin_api import Model, Row

#: No parameters.
EMPTY: Values = MappingProxyType({})

#: Gives the rows of a model what they need of one relationship.
Load: TypeAlias = Callable[[Session, Sequence[Row]], None]


def rows_with_ids(
    session: Session,
    model: Model,
    ids: Collection[Any],
    *conditions: ColumnElement[bool],
    parameters: Values = EMPTY,
    loads: Sequence[str] | None = None,
) -> list[Row]:
    """The rows with these ids that meet the conditions, ordered by id.

    Conditions are the same objects each time, with the values that change among the parameters: the statement is kept.
    `loads`: the relationships to load, if not all that the entity names.
    """
    wanted = _Wanted(model, model.id, conditions, None if loads is None else tuple(loads))
    return _rows_among(session, wanted, ids, parameters) if ids else []


def instances_with_ids(
    session: Session, model: Model, ids: Collection[Any], *, loads: Sequence[str] | None = None
) -> list[Row]:
    """The rows with these ids as instances of the model, for hooks that use more of it than its columns."""
    rows = rows_with_ids(session, model, ids, loads=loads)
    return [_instance(model, row) for row in rows] if model in CORE else rows


def _instance(model: Any, shown: Row) -> Row:
    _, names = _shape_of(model)
    values = vars(shown)
    row = detached(model, [values[name] for name in names])
    # The related rows that were loaded.
    set_in_memory(row, values)
    return row


def rows_with(
    session: Session,
    model: Model,
    column: Any,
    value: Any,
    *conditions: ColumnElement[bool],
    parameters: Values = EMPTY,
) -> list[Row]:
    """The rows that have a value in a column and meet the conditions, ordered by id; as for `rows_with_ids`."""
    return _rows_among(session, _Wanted(model, column, conditions), [value], parameters)


def _select(model: Model, conditions: Iterable[ColumnElement[bool]], loads: Sequence[str] | None) -> Select[Any]:
    # A plugin's hooks may read anything of a row that the ORM gives it.
    rows = select(*row_columns(model)) if model in CORE else select_shown(model, loads)
    return rows.where(*conditions).order_by(model.id)


def _rows_of(
    session: Session, model: Model, statement: Select[Any], parameters: Values, loads: Sequence[str] | None
) -> list[Row]:
    if model not in CORE:
        return list(session.scalars(statement, parameters))
    rows = _made_of(model, session.execute(statement, parameters).all())
    for name in entity_of(model).loads if loads is None else loads:
        LOADS[model, name](session, rows)
    return rows


def _made_of(model: Model, columns: Iterable[Sequence[Any]]) -> list[Row]:
    """Rows with these values, in the order of `row_columns`."""
    shape, names = _shape_of(model)  # type: ignore[arg-type]
    rows = []
    for values in columns:
        row = shape()
        row.__dict__.update(zip(names, values, strict=True))
        rows.append(row)
    return rows


@cache
def _shape_of(model: Model) -> tuple[type[Any], tuple[str, ...]]:
    """The class of a model's rows, and the names of their columns."""
    shape = type(f"Shown{model.__name__}", (), {"__entity__": property(lambda _row: entity_of(model))})
    return shape, tuple(column.key for column in table_of(model).c)


class _Wanted(NamedTuple):
    """Rows of a model: those with one of many values in a column, which meet further conditions."""

    model: Model
    column: Any
    conditions: tuple[ColumnElement[bool], ...] = ()
    loads: tuple[str, ...] | None = None


def _rows_among(session: Session, wanted: _Wanted, values: Collection[Any], parameters: Values = EMPTY) -> list[Row]:
    database = database_of(session)
    statement = _select_among(database, wanted, ValueSet.of("wanted", values))
    parameters = {**parameters, "wanted": database.parameter_of(values)}
    return _rows_of(session, wanted.model, statement, parameters, wanted.loads)


# To build it anew takes longer than the database takes to answer it.
@lru_cache(maxsize=256)
def _select_among(database: Database, wanted: _Wanted, values: ValueSet) -> Select[Any]:
    return _select(wanted.model, [database.among(wanted.column, values), *wanted.conditions], wanted.loads)


def _load_templates(session: Session, rows: Sequence[Row]) -> None:
    ids = {row.form_template_id for row in rows} - {None}
    templates = {template.id: template for template in rows_with_ids(session, FormTemplate, ids)}
    for row in rows:
        row.form_template = templates.get(row.form_template_id)


def _load_attachments(session: Session, rows: Sequence[Row]) -> None:
    forms: dict[int, list[Row]] = {row.id: [] for row in rows}
    if forms:
        wanted = _Wanted(Attachment, Attachment.form_fill_id, undeleted(Attachment))
        live = _rows_among(session, wanted, forms.keys())
        for attachment in sorted(live, key=lambda attachment: int(attachment.position)):
            forms[attachment.form_fill_id].append(attachment)
    for row in rows:
        row.attachments = forms[row.id]


CORE: frozenset[Model] = frozenset({User, FormTemplate, Inspection, FormFill, Attachment})

LOADS: dict[tuple[Model, str], Load] = {
    (Inspection, "form_template"): _load_templates,
    (FormFill, "form_template"): _load_templates,
    (FormFill, "attachments"): _load_attachments,
}
