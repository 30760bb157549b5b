"""Loads and locks the rows of a batch: one query a model, in the one order, whatever the number of operations.

Which inspections to lock is only known from the rows below them, and inspections come first in the order. So they are
looked up there without a lock, as the rows that a `via` points to are, and checked under the locks (`RaceError`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, inspect, or_, select, union_all
from sqlalchemy.orm import Session

from app.core.database import Database, database_of
from app.core.database.read import Lock
from app.core.database.rows import adopt, row_columns, set_in_memory, table_of
from app.core.database.values import Values
from app.core.host.read_only import protect
from app.core.ledger.record import Recorder
from app.core.ledger.unit import RaceError
from app.core.sync.prepare import Draft, Reference
from app.models import Attachment, FormFill, Inspection, User
from app.plugin_api import ById, Children, Row, Via

#: The one order in which rows are locked; plugins' tables follow by name. Two batches cannot deadlock.
LOCK_ORDER: tuple[type, ...] = (User, Inspection, FormFill, Attachment)


@dataclass(slots=True)
class _Need:
    """Which rows of one model a batch needs."""

    ids: set[Any] = field(default_factory=set)
    client_ids: set[str] = field(default_factory=set)
    #: Column -> the rows whose children are needed.
    parents: dict[str, set[Reference]] = field(default_factory=dict)
    #: Columns that a `via` reads from rows of this model.
    columns: set[str] = field(default_factory=set)
    #: Whether any of them is going to be changed.
    is_changed: bool = False


@dataclass(frozen=True, slots=True)
class _Names:
    """In which ways rows of a model are named. The names themselves are sent as parameters, so statements are few."""

    model: Any
    #: None: none are named so.
    ids: Values | None = None
    client_ids: Values | None = None
    #: Columns that hold a parent's id, and how the parents are named.
    parents: tuple[tuple[str, _Names], ...] = ()


class Rows:
    """The rows of one unit, loaded and locked, those that it creates included."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._session: Session = recorder.session
        self._database = database_of(recorder.session)
        self._loaded: dict[tuple[type, Any], Row] = {}
        self._client_ids: dict[tuple[type, str], Row] = {}
        #: Which rows point to which parent, by model and column.
        self._children: dict[tuple[type, str], dict[Any, list[Row]]] = {}
        self._needs: dict[type, _Need] = {}
        #: What must still be so under the locks: which row points where.
        self._moves: list[tuple[Reference, Via]] = []

    def locks(self, drafts: Iterable[Draft]) -> list[Lock]:
        """What loads and locks everything that the drafts name, in this order; for `keep`, once it has been read."""
        vias = self._collect([draft for draft in drafts if draft.handler is not None and draft.fault is None])
        self._moves = self._collect_vias(vias)
        if not self._needs:
            return []
        self._need(Inspection)
        return self._reads()

    def keep(self, locks: Iterable[Lock]) -> None:
        """Take over the rows that were locked. Raises `RaceError` if something moved before it was locked."""
        for each in locks:
            self._keep(adopt(self._session, each.model, values) for values in each.found)
        self._check()

    def find(self, reference: Reference | None) -> Row | None:
        """The row that is named, if it is there and not deleted."""
        if reference is None:
            return None
        if reference.is_client_id:
            row = self._client_ids.get((reference.model, reference.key))
            if row is not None and (reference.model, row.id) not in self._loaded:
                row = self._recorder.created.get((reference.model, row.id))
        else:
            row = self.get(reference.model, reference.key)
        return None if row is None or self._recorder.is_deleted(row) else row

    def get(self, model: type, key: Any) -> Row | None:
        """The row with this id, loaded or created by this unit, deleted or not."""
        return self._loaded.get((model, key)) or self._recorder.created.get((model, key))

    def add_client_id(self, row: Row) -> None:
        """Let later operations of the batch find a row created here by its client_id."""
        self._client_ids[type(row), row.client_id] = row

    def children(self, target: Children, parent: Row) -> list[Row]:
        """All rows that point to `parent`, in id order, without deleted ones."""
        index = self._children.get((target.model, target.column))
        if index is None:
            index = self._children[target.model, target.column] = {}
            for (model, _), row in [*self._loaded.items(), *self._recorder.created.items()]:
                if model is target.model:
                    index.setdefault(getattr(row, target.column), []).append(row)
        found = [row for row in index.get(parent.id, ()) if not self._recorder.is_deleted(row)]
        return sorted(found, key=lambda row: row.id)

    def forget_children(self, model: type | None = None) -> None:
        """Rows (of `model`) were created, changed or taken back: which parents they point to is looked up anew."""
        for key in [each for each in self._children if model in (None, each[0])]:
            del self._children[key]

    def via(self, target: Via, row: Row) -> Row | None:
        """The row that `row` points to now."""
        key = getattr(row, target.column)
        if key is None:
            return None
        found = self.get(target.model, key)
        if found is None:
            raise LookupError(
                f"{target.model.__name__} {key}, to which {target.column} points, was not loaded with the batch: "
                "declare the operation's other rows by_id, so that the ones it moves to are known."
            )
        return found

    def load_unlocked(self, wanted: Iterable[tuple[type, Any]]) -> None:
        """Load further rows, to be shown only: what retries are answered with. One query a model and roots."""
        missing: dict[type, set[Any]] = {}
        for model, key in wanted:
            if (model, key) not in self._loaded:
                missing.setdefault(model, set()).add(key)
        for model, keys in missing.items():
            rows: Sequence[Row] = self._session.scalars(select(model).where(_id(model).in_(keys))).all()
            roots = {row.inspection_id for row in rows if hasattr(row, "inspection_id")}
            unknown = {each for each in roots if (Inspection, each) not in self._loaded}
            if unknown and model is not Inspection:
                self._keep(self._session.scalars(select(Inspection).where(Inspection.id.in_(unknown))))
            self._keep(rows)

    def _need(self, model: type) -> _Need:
        return self._needs.setdefault(model, _Need())

    def _collect(self, drafts: Iterable[Draft]) -> list[tuple[Reference, Via, bool]]:
        """Note what the drafts name; returns the `via`s, which can be noted only once their targets are read."""
        vias: list[tuple[Reference, Via, bool]] = []
        for draft in drafts:
            handler = draft.handler
            assert handler is not None
            self._add(draft.target, is_changed=True)
            self._add(draft.parent, is_changed=True)
            if draft.target is None and draft.client_id is not None:
                self._add(Reference(handler.target.model, draft.client_id, is_client_id=True), is_changed=True)
            for targets, is_changed in ((handler.rows, True), (handler.reads, False)):
                for name, target in targets.items():
                    if isinstance(target, ById):
                        self._add(draft.references[name], is_changed=is_changed)
                    elif draft.target is not None and isinstance(target, Via):
                        self._need(draft.target.model).columns.add(target.column)
                        vias.append((draft.target, target, is_changed))
                    elif draft.target is not None and isinstance(target, Children):
                        need = self._need(target.model)
                        need.parents.setdefault(target.column, set()).add(draft.target)
                        need.is_changed |= is_changed
        return vias

    def _add(self, reference: Reference | None, *, is_changed: bool) -> None:
        if reference is not None:
            need = self._need(reference.model)
            (need.client_ids if reference.is_client_id else need.ids).add(reference.key)
            need.is_changed |= is_changed

    def _collect_vias(self, vias: Sequence[tuple[Reference, Via, bool]]) -> list[tuple[Reference, Via]]:
        """Note the rows that targets point to, read without a lock; returns what must still be so under the locks."""
        moves = []
        found = {model: self._resolve(model) for model in {reference.model for reference, _, _ in vias}}
        for reference, target, is_changed in vias:
            row = found[reference.model].get(reference)
            if row is not None:
                self._add(Reference(target.model, getattr(row, target.column)), is_changed=is_changed)
                moves.append((reference, target))
        return moves

    def _resolve(self, model: Any) -> dict[Reference, Any]:
        """Ids and `via` columns of the rows that are named."""
        attributes = ["id", *sorted(self._needs[model].columns)]
        if hasattr(model, "client_id"):
            attributes.append("client_id")
        columns = [getattr(model, name).label(name) for name in attributes]
        parameters: dict[str, Any] = {}
        named = _condition(self._database, self._names_of(model, parameters))
        found: dict[Reference, Any] = {}
        for row in self._session.execute(select(*columns).where(named), parameters):
            found[Reference(model, row.id)] = row
            if getattr(row, "client_id", None) is not None:
                found[Reference(model, row.client_id, is_client_id=True)] = row
        return found

    def _reads(self) -> list[Lock]:
        """One statement a model, inspections before what is below them."""
        parameters: dict[str, Any] = {}
        names = {model: self._names_of(model, parameters) for model in sorted(self._needs, key=_lock_key)}
        below = tuple(each for model, each in names.items() if model is not Inspection and _has_root(model))
        reads = []
        for model, each in names.items():
            roots = below if model is Inspection else ()
            statement = _lock_statement(self._database, each, roots, self._needs[model].is_changed)
            reads.append(Lock(model=model, statement=statement, parameters=parameters))
        return reads

    def _names_of(self, model: type, parameters: dict[str, Any]) -> _Names:
        """In which ways the rows of a model are named; the names are added to `parameters`."""
        need, table = self._needs[model], _table_name(model)
        parents = []
        for column, references in sorted(need.parents.items()):
            (parent,) = {each.model for each in references}
            ids = [each.key for each in references if not each.is_client_id]
            client_ids = [each.key for each in references if each.is_client_id]
            parents.append((column, self._sent(parent, f"{table}_{column}", ids, client_ids, parameters)))
        return replace(self._sent(model, table, need.ids, need.client_ids, parameters), parents=tuple(parents))

    def _sent(
        self, model: type, prefix: str, ids: Collection[Any], client_ids: Collection[str], parameters: dict[str, Any]
    ) -> _Names:
        def named(name: str, values: Collection[Any]) -> Values | None:
            if not values:
                return None
            parameters[name] = self._database.parameter_of(values)
            return Values.of(name, values)

        return _Names(model, named(f"{prefix}_ids", ids), named(f"{prefix}_client_ids", client_ids))

    def _keep(self, rows: Iterable[Row]) -> None:
        for row in rows:
            protect(row)
            model = type(row)
            self._loaded[model, row.id] = row
            client_id = getattr(row, "client_id", None)
            if client_id is not None:
                self._client_ids[model, client_id] = row
            if model is not Inspection and _has_root(model):
                set_in_memory(row, {"inspection": self._loaded.get((Inspection, row.inspection_id))})

    def _check(self) -> None:
        """Under the locks, every row's root and everything that a `via` points to must have been locked too."""
        roots = {row.inspection_id for row in self._loaded.values() if hasattr(row, "inspection_id")}
        unlocked = {each for each in roots if (Inspection, each) not in self._loaded}
        # A row may outlive its inspection; then there is nothing to lock.
        if unlocked and self._session.scalar(select(Inspection.id).where(Inspection.id.in_(unlocked)).limit(1)):
            raise RaceError("A row of another inspection appeared meanwhile")
        for reference, target in self._moves:
            row = self.find(reference)
            key = None if row is None else getattr(row, target.column)
            if key is not None and key not in self._needs[target.model].ids:
                raise RaceError(f"{target.column} of {type(row).__name__} changed meanwhile")


@lru_cache(maxsize=512)
def _lock_statement(database: Database, names: _Names, below: tuple[_Names, ...], is_changed: bool) -> Select[Any]:
    """Selects and locks the rows, in id order and in the strongest mode that any row of the model needs.

    Two modes would take two statements, and their rows would no longer be locked in one order. `below`: what is named
    below inspections, which are locked too.
    """
    condition = _roots_condition(database, names, below) if names.model is Inspection else _condition(database, names)
    statement = select(*row_columns(names.model)).where(condition).order_by(_id(names.model))
    return statement.with_for_update(read=not is_changed, key_share=is_changed)


def _roots_condition(database: Database, names: _Names, below: tuple[_Names, ...]) -> ColumnElement[bool]:
    """The condition for the inspections that are named, and for those of all other rows that are."""
    sources: list[Any] = [select(each.model.inspection_id).where(_condition(database, each)) for each in below]
    if names.ids:
        sources.append(database.select_values(Inspection.id, names.ids))
    # Not OR: the databases would read all inspections to answer it.
    return Inspection.id.in_(union_all(*sources) if len(sources) > 1 else sources[0])


def _condition(database: Database, names: _Names) -> ColumnElement[bool]:
    """The condition for the rows that are named by id or by client_id, or that point to such rows."""
    conditions = []
    if names.ids:
        conditions.append(database.among(_id(names.model), names.ids))
    if names.client_ids:
        conditions.append(database.among(names.model.client_id, names.client_ids))
    for column, parent in names.parents:
        pointer = getattr(names.model, column)
        if parent.ids and not parent.client_ids:
            conditions.append(database.among(pointer, parent.ids))
        else:
            conditions.append(pointer.in_(select(_id(parent.model)).where(_condition(database, parent))))
    return or_(*conditions)


def _has_root(model: Any) -> bool:
    return hasattr(model, "inspection_id")


def _lock_key(model: type) -> tuple[int, str]:
    order = LOCK_ORDER.index(model) if model in LOCK_ORDER else len(LOCK_ORDER)
    return order, _table_name(model)


def _table_name(model: type) -> str:
    return table_of(model).name


def _id(model: type) -> Any:
    return inspect(model).primary_key[0]
