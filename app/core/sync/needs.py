"""The rows that a batch needs, collected from the names in its items before anything is locked."""

from __future__ import annotations

from collections.abc import Iterable

from app.core.sync.items import Item, Routed
from app.core.sync.keys import Reference
from app.models import Inspection
from app.plugin_api import ById, Children, Target, Via


class Needs:
    """The rows of each model that the items name, and how they are going to be used."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.rows: dict[type, set[Reference]] = {}
        #: Model -> column -> the rows whose children are needed.
        self.children: dict[type, dict[str, set[Reference]]] = {}
        #: Model -> columns that a `via` reads from its rows.
        self.columns: dict[type, set[str]] = {}
        #: Models of which any row is going to be changed.
        self.changed: set[type] = set()
        #: Whether any item makes a new inspection, for which there is no row to lock but its sender's.
        self.is_new_root = False
        #: Rows that point to others, which are only known once the first are read; and whether those are changed.
        self.vias: list[tuple[Reference, Via, bool]] = []
        for item in items:
            if isinstance(item, Routed) and item.fault is None:
                self._collect(item)
        if self.models:
            self._need(Inspection, is_changed=False)

    @property
    def models(self) -> Iterable[type]:
        """The models of which rows are needed."""
        return self.rows

    def add(self, reference: Reference | None, *, is_changed: bool) -> None:
        """One more row."""
        if reference is not None:
            self._need(reference.model, is_changed=is_changed)
            self.rows[reference.model].add(reference)

    def _collect(self, item: Routed) -> None:
        handler, keys = item.handler, item.keys
        self.add(keys.target, is_changed=True)
        self.add(keys.parent, is_changed=True)
        self.is_new_root |= keys.is_create and keys.parent is None
        if keys.target is None and keys.client_id is not None:
            self.add(Reference(handler.target.model, keys.client_id, is_client_id=True), is_changed=True)
        for targets, is_changed in ((handler.rows, True), (handler.reads, False)):
            for name, target in targets.items():
                if isinstance(target, ById):
                    named = keys.references[name]
                    for reference in named if isinstance(named, list) else [named]:
                        self.add(reference, is_changed=is_changed)
                elif keys.target is not None:
                    self._add_pointing(keys.target, target, is_changed)

    def _add_pointing(self, reference: Reference, target: Target, is_changed: bool) -> None:
        """The row that the named one points to, or those that point to it."""
        if isinstance(target, Via):
            self.columns.setdefault(reference.model, set()).add(target.column)
            self.vias.append((reference, target, is_changed))
        elif isinstance(target, Children):
            self._need(target.model, is_changed=is_changed)
            self.children.setdefault(target.model, {}).setdefault(target.column, set()).add(reference)

    def _need(self, model: type, *, is_changed: bool) -> None:
        self.rows.setdefault(model, set())
        if is_changed:
            self.changed.add(model)
