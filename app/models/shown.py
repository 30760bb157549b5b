"""Rows to show, made of columns: the ORM takes several times as long for a page or a package of them.

They have the attributes of their models and belong to no session. What `serialize` reads of other rows is read in one
query for each relationship.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from app.core.database import database_of
from app.core.database.rows import detached, row_columns, set_in_memory, table_of
from app.core.database.values import ValueSet
from app.models.attachments import Attachment
from app.models.entities import entity_of
from app.models.form_fills import FormFill
from app.models.form_templates import FormTemplate
from app.models.inspections import Inspection
from app.models.serialize import select_shown
from app.models.users import User
from app.plugin_api import Model, Row

#: Gives the rows of a model what they need of one relationship.
Load: TypeAlias = Callable[[Session, Sequence[Row]], None]


def rows_with_ids(
    session: Session,
    model: Model,
    ids: Collection[Any],
    *conditions: ColumnElement[bool],
    loads: Sequence[str] | None = None,
) -> list[Row]:
    """The rows with these ids that meet the conditions, ordered by id; `loads` as for `rows_where`."""
    return _rows_among(session, model, model.id, ids, *conditions, loads=loads) if ids else []


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
    # What was loaded of its relationships.
    set_in_memory(row, values)
    return row


def rows_where(
    session: Session,
    model: Model,
    *conditions: ColumnElement[bool],
    parameters: dict[str, Any] | None = None,
    loads: Sequence[str] | None = None,
) -> list[Row]:
    """The rows of `model` that meet the conditions, ordered by id.

    `loads`: the relationships to load, if not all that the entity names.
    """
    if model not in CORE:
        # A plugin's hooks may read anything of a row that the ORM gives it.
        statement = select_shown(model, loads).where(*conditions).order_by(model.id)
        return list(session.scalars(statement, parameters))
    columns = select(*row_columns(model)).where(*conditions).order_by(model.id)
    rows = _made_of(model, session.execute(columns, parameters).all())
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


def _rows_among(
    session: Session,
    model: Model,
    column: Any,
    values: Collection[Any],
    *conditions: ColumnElement[bool],
    loads: Sequence[str] | None = None,
) -> list[Row]:
    database = database_of(session)
    among = database.among(column, ValueSet.of("wanted", values))
    parameters = {"wanted": database.parameter_of(values)}
    return rows_where(session, model, among, *conditions, parameters=parameters, loads=loads)


def _load_templates(session: Session, rows: Sequence[Row]) -> None:
    ids = {row.form_template_id for row in rows} - {None}
    templates = {template.id: template for template in rows_with_ids(session, FormTemplate, ids)}
    for row in rows:
        row.form_template = templates.get(row.form_template_id)


def _load_attachments(session: Session, rows: Sequence[Row]) -> None:
    forms: dict[int, list[Row]] = {row.id: [] for row in rows}
    if forms:
        live = _rows_among(session, Attachment, Attachment.form_fill_id, forms.keys(), Attachment.deleted_at.is_(None))
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
