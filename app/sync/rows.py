"""Loads and locks the rows of a batch: one query a model, in the one order, whatever the number of operations.

Ids and roots are read without a lock first, since which inspections to lock is only known from the rows below
them, and inspections come first in the order. What was read so is checked again under the locks (`RaceError`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, inspect, or_, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from app.ledger.record import Recorder
from app.ledger.unit import RaceError
from app.models import Attachment, FormFill, Inspection, User
from app.plugin_api import ById, Children, Row, Via
from app.sync.prepare import Draft, Reference

#: The one order in which rows are locked; plugins' tables follow by name. Two batches cannot deadlock.
LOCK_ORDER: tuple[type, ...] = (User, Inspection, FormFill, Attachment)


@dataclass(slots=True)
class _Need:
    """Which rows of one model a batch needs."""

    ids: set[Any] = field(default_factory=set)
    client_ids: set[str] = field(default_factory=set)
    #: Column -> ids of targets whose children are needed.
    parents: dict[str, set[Any]] = field(default_factory=dict)
    #: Columns that a `via` reads from rows of this model.
    columns: set[str] = field(default_factory=set)
    #: Whether any of them is going to be changed.
    is_changed: bool = False


class Rows:
    """The rows of one unit, loaded and locked, those that it creates included."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._session: Session = recorder.session
        self._loaded: dict[tuple[type, Any], Row] = {}
        self._client_ids: dict[tuple[type, str], Row] = {}
        #: Which rows point to which parent, by model and column.
        self._children: dict[tuple[type, str], dict[Any, list[Row]]] = {}
        self._needs: dict[type, _Need] = {}

    def load(self, drafts: Iterable[Draft]) -> None:
        """Load and lock everything that the drafts name. Raises `RaceError` if it moved meanwhile."""
        vias = self._collect([draft for draft in drafts if draft.handler is not None and draft.fault is None])
        found = {model: self._resolve(model, need) for model, need in list(self._needs.items())}
        self._collect_children(found)
        moves = self._collect_vias(vias, found)
        self._add_roots(found)
        for model in sorted(self._needs, key=_lock_key):
            self._lock(model, self._needs[model])
        self._check(moves)

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

    def _resolve(self, model: type, need: _Need) -> dict[Reference, Row]:
        """Id, root and `via` columns of the rows that are named, read without a lock."""
        if not hasattr(model, "inspection_id") or model is Inspection or not (need.ids or need.client_ids):
            return {}
        names = ["id", "inspection_id", *sorted(need.columns)]
        if hasattr(model, "client_id"):
            names.append("client_id")
        columns = [getattr(model, name).label(name) for name in names]
        found: dict[Reference, Row] = {}
        for row in self._session.execute(select(*columns).where(_named(model, need))):
            found[Reference(model, row.id)] = row
            if getattr(row, "client_id", None) is not None:
                found[Reference(model, row.client_id, is_client_id=True)] = row
        return found

    def _collect_children(self, found: dict[type, dict[Reference, Row]]) -> None:
        """Turn the references to parents into their ids; a parent that is not there has no children."""
        for need in self._needs.values():
            for column, parents in need.parents.items():
                rows = (found.get(each.model, {}).get(each) for each in parents)
                need.parents[column] = {row.id for row in rows if row is not None}

    def _collect_vias(
        self, vias: Iterable[tuple[Reference, Via, bool]], found: dict[type, dict[Reference, Row]]
    ) -> list[tuple[Reference, Via]]:
        """Note the rows that targets point to; returns what must still be so under the locks."""
        moves, models = [], set()
        for reference, target, is_changed in vias:
            row = found.get(reference.model, {}).get(reference)
            if row is not None:
                self._add(Reference(target.model, getattr(row, target.column)), is_changed=is_changed)
                moves.append((reference, target))
                models.add(target.model)
        for model in models:
            found[model] = self._resolve(model, self._needs[model])
        return moves

    def _add_roots(self, found: dict[type, dict[Reference, Row]]) -> None:
        roots = {row.inspection_id for rows in found.values() for row in rows.values()}
        if roots:
            self._need(Inspection).ids |= roots

    def _lock(self, model: type, need: _Need) -> None:
        """One statement a model, in id order and in the strongest mode that any row of it needs.

        Two modes would take two statements, and their rows would no longer be locked in one order.
        """
        conditions = [getattr(model, column).in_(ids) for column, ids in need.parents.items() if ids]
        if need.ids or need.client_ids:
            conditions.append(_named(model, need))
        if not conditions:
            return
        statement: Select[Any] = (
            select(model)
            .where(or_(*conditions))
            .order_by(_id(model))
            .with_for_update(read=not need.is_changed, key_share=need.is_changed)
            # A row that the session knows already would keep its stale values (trap 27).
            .execution_options(populate_existing=True)
        )
        self._keep(self._session.scalars(statement))

    def _keep(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._loaded[type(row), row.id] = row
            if getattr(row, "client_id", None) is not None:
                self._client_ids[type(row), row.client_id] = row
            if hasattr(row, "inspection_id") and not isinstance(row, Inspection):
                set_committed_value(row, "inspection", self._loaded.get((Inspection, row.inspection_id)))

    def _check(self, moves: Iterable[tuple[Reference, Via]]) -> None:
        """Under the locks, every row's root and everything that a `via` points to must have been locked too."""
        roots = self._needs[Inspection].ids if Inspection in self._needs else set()
        for row in self._loaded.values():
            if hasattr(row, "inspection_id") and row.inspection_id not in roots:
                raise RaceError(f"{type(row).__name__} {row.id} appeared meanwhile")
        for reference, target in moves:
            row = self.find(reference)
            key = None if row is None else getattr(row, target.column)
            if key is not None and key not in self._needs[target.model].ids:
                raise RaceError(f"{target.column} of {type(row).__name__} changed meanwhile")


def _lock_key(model: type) -> tuple[int, str]:
    order = LOCK_ORDER.index(model) if model in LOCK_ORDER else len(LOCK_ORDER)
    return order, inspect(model).local_table.name


def _id(model: type) -> Any:
    return inspect(model).primary_key[0]


def _named(model: Any, need: _Need) -> ColumnElement[bool]:
    """The condition for rows that are named by id or by client_id."""
    conditions = [_id(model).in_(need.ids)] if need.ids else []
    if need.client_ids:
        conditions.append(model.client_id.in_(need.client_ids))
    return or_(*conditions)
