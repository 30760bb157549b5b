"""Locks the rows that a batch needs: one query a model, in the one order, however many operations there are.

Which inspections to lock is only known from the rows below them, and inspections come first in the order. So they are
looked up there without a lock, as the rows that a `via` points to are, and checked under the locks (`RaceError`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Select, inspect, or_, select, union_all
from sqlalchemy.orm import Session

from app.core.database import Database, database_of
from app.core.database.read import Lock
from app.core.database.rows import row_columns, table_of
from app.core.database.values import ValueSet
from app.core.ledger.unit import RaceError
from app.core.sync.keys import Reference
from app.core.sync.needs import Needs
from app.core.sync.rows import Rows
from app.models import Attachment, FormFill, Inspection, User
from app.models.entities import Row
from app.plugin_api import Model, Via

#: The one order in which rows are locked; plugins' tables follow by name. Two batches cannot deadlock.
LOCK_ORDER: tuple[type, ...] = (User, Inspection, FormFill, Attachment)

#: A row that pointed to another one before it was locked, and must still do so under the locks.
Move: TypeAlias = tuple[Reference, Via]

#: The names of rows, as parameters of a statement.
Parameters: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True)
class Selection:
    """In which ways rows of a model are named. The names themselves are sent as parameters, so statements are few."""

    model: Model
    #: None: no row is named in this way.
    ids: ValueSet | None = None
    client_ids: ValueSet | None = None
    #: Columns that hold a parent's id, and how the parents are named.
    parents: tuple[tuple[str, Selection], ...] = ()


def locks_for(session: Session, needs: Needs) -> list[Lock]:
    """The queries that load and lock everything that is needed, one a model, inspections before the rows below them."""
    database, parameters = database_of(session), Parameters()
    models = sorted(needs.models, key=_lock_key)
    selections = {model: _selection(database, needs, model, parameters) for model in models}
    below = tuple(selections[model] for model in models if model is not Inspection and _has_root(model))
    locks = []
    for model, selection in selections.items():
        roots = below if model is Inspection else ()
        statement = _lock_statement(database, selection, roots, model in needs.changed)
        locks.append(Lock(model=model, statement=statement, parameters=parameters))
    return locks


def follow(session: Session, needs: Needs) -> list[Move]:
    """Add the rows that a `via` points to, read without a lock; returns the moves to check under the locks."""
    models = {reference.model for reference, _, _ in needs.vias}
    pointing = {model: _pointing_rows(session, needs, model) for model in models}
    moves = []
    for reference, via, is_changed in needs.vias:
        row = pointing[reference.model].get(reference)
        if row is not None:
            needs.add(Reference(via.model, getattr(row, via.column)), is_changed=is_changed)
            moves.append((reference, via))
    return moves


def check(session: Session, needs: Needs, moves: Iterable[Move], rows: Rows, locked: Iterable[Row]) -> None:
    """Raise `RaceError` unless every row's root, and every row that a `via` points to, has been locked too."""
    roots = {row.inspection_id for row in locked if hasattr(row, "inspection_id")}
    unlocked = {root for root in roots if rows.get(Inspection, root) is None}
    # A row may outlive its inspection; then there is nothing to lock.
    if unlocked and session.scalar(select(Inspection.id).where(Inspection.id.in_(unlocked)).limit(1)):
        raise RaceError("A row of another inspection appeared meanwhile")
    for reference, via in moves:
        row = rows.find(reference)
        key = None if row is None else getattr(row, via.column)
        if key is not None and Reference(via.model, key) not in needs.rows[via.model]:
            raise RaceError(f"{via.column} of {type(row).__name__} changed meanwhile")


def _pointing_rows(session: Session, needs: Needs, model: Model) -> dict[Reference, object]:
    """Ids and `via` columns of the rows of a model that are named."""
    attributes = ["id", *sorted(needs.columns[model])]
    if hasattr(model, "client_id"):
        attributes.append("client_id")
    columns = [getattr(model, name).label(name) for name in attributes]
    database, parameters = database_of(session), Parameters()
    named = _condition(database, _selection(database, needs, model, parameters))
    rows: dict[Reference, object] = {}
    for row in session.execute(select(*columns).where(named), parameters):
        rows[Reference(model, row.id)] = row
        if getattr(row, "client_id", None) is not None:
            rows[Reference(model, row.client_id, is_client_id=True)] = row
    return rows


def _selection(database: Database, needs: Needs, model: Model, parameters: Parameters) -> Selection:
    """In which ways the rows of a model are named; the names are added to `parameters`."""
    table = table_of(model).name
    parents = []
    for column, references in sorted(needs.children.get(model, {}).items()):
        parents.append((column, _named(database, f"{table}_{column}", references, parameters)))
    named = _named(database, table, needs.rows[model], parameters) if needs.rows[model] else Selection(model)
    return replace(named, parents=tuple(parents))


def _named(database: Database, prefix: str, references: Collection[Reference], parameters: Parameters) -> Selection:
    """Rows of one model that are named by id or client_id."""
    (model,) = {reference.model for reference in references}
    ids = [reference.key for reference in references if not reference.is_client_id]
    client_ids = [reference.key for reference in references if reference.is_client_id]
    values: dict[str, ValueSet] = {}
    for name, keys in ((f"{prefix}_ids", ids), (f"{prefix}_client_ids", client_ids)):
        if keys:
            parameters[name] = database.parameter_of(keys)
            values[name] = ValueSet.of(name, keys)
    return Selection(model, values.get(f"{prefix}_ids"), values.get(f"{prefix}_client_ids"))


@lru_cache(maxsize=512)
def _lock_statement(
    database: Database, selection: Selection, below: tuple[Selection, ...], is_changed: bool
) -> Select[tuple[Any, ...]]:
    """Selects and locks the rows, in id order and in the strongest mode that any row of the model needs.

    Two modes would take two statements, and their rows would no longer be locked in one order. `below`: the rows that
    are named below inspections, which are locked too.
    """
    is_root = selection.model is Inspection
    condition = _roots_condition(database, selection, below) if is_root else _condition(database, selection)
    statement = select(*row_columns(selection.model)).where(condition).order_by(_id(selection.model))
    return statement.with_for_update(read=not is_changed, key_share=is_changed)


def _roots_condition(database: Database, selection: Selection, below: tuple[Selection, ...]) -> ColumnElement[bool]:
    """The condition for the inspections that are named, and for those of all other rows that are."""
    sources = [select(named.model.inspection_id).where(_condition(database, named)) for named in below]
    if selection.ids:
        sources.append(database.select_values(Inspection.id, selection.ids))
    if selection.client_ids:
        sources.append(select(Inspection.id).where(database.among(Inspection.client_id, selection.client_ids)))
    # Not OR: the databases would read all inspections to answer it.
    return Inspection.id.in_(union_all(*sources) if len(sources) > 1 else sources[0])


def _condition(database: Database, selection: Selection) -> ColumnElement[bool]:
    """The condition for the rows that are named by id or by client_id, or that point to such rows."""
    model, conditions = selection.model, []
    if selection.ids:
        conditions.append(database.among(_id(model), selection.ids))
    if selection.client_ids:
        conditions.append(database.among(model.client_id, selection.client_ids))
    for column, parent in selection.parents:
        pointer = getattr(model, column)
        if parent.ids and not parent.client_ids:
            conditions.append(database.among(pointer, parent.ids))
        else:
            conditions.append(pointer.in_(select(_id(parent.model)).where(_condition(database, parent))))
    return or_(*conditions)


def _has_root(model: type) -> bool:
    return hasattr(model, "inspection_id")


def _lock_key(model: type) -> tuple[int, str]:
    order = LOCK_ORDER.index(model) if model in LOCK_ORDER else len(LOCK_ORDER)
    return order, table_of(model).name


def _id(model: type) -> Any:
    return inspect(model).primary_key[0]
