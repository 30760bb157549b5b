"""The rows of a batch in memory: loaded and locked with it, or created by it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.core.database.rows import set_in_memory
from app.core.host.read_only import protect
from app.core.ledger.record import Recorder
from app.core.sync.keys import Reference
from app.models import Inspection
from app.models.entities import Row
from app.plugin_api import Children, Via


class Rows:
    """Finds the rows of one unit, those that it creates included."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._loaded: dict[tuple[type, Any], Row] = {}
        self._client_ids: dict[tuple[type, Any], Row] = {}
        #: The rows whose creates were refused for good: they are not going to come.
        self.refused: set[Reference] = set()
        #: The rows that were deleted before, of those that are named by their client_ids.
        self.deleted: set[Reference] = set()
        #: The rows that point to a parent, by model and column, and by the parent's id.
        self._children: dict[tuple[type, str], dict[object, list[Row]]] = {}

    def keep(self, rows: Iterable[Row]) -> None:
        """Take in rows that were loaded, inspections before the rows below them."""
        for row in rows:
            protect(row)
            model = type(row)
            self._loaded[model, row.id] = row
            self.add_client_id(row)
            if model is not Inspection and hasattr(model, "inspection_id"):
                set_in_memory(row, {"inspection": self._loaded.get((Inspection, row.inspection_id))})

    def find(self, reference: Reference | None) -> Row | None:
        """The row that is named, if it is there and not deleted."""
        if reference is None:
            return None
        if reference.is_client_id:
            row = self._client_ids.get((reference.model, reference.key))
            # A row that was created and taken back is no longer there.
            row = None if row is None else self.get(reference.model, row.id)
        else:
            row = self.get(reference.model, reference.key)
        return None if row is None or self._recorder.is_deleted(row) else row

    def was_deleted(self, reference: Reference) -> bool:
        """Whether the row with this client_id was deleted, before or by this batch."""
        row = self._client_ids.get((reference.model, reference.key))
        return reference in self.deleted or (row is not None and self._recorder.is_deleted(row))

    def get(self, model: type, key: object) -> Row | None:
        """The row with this id, loaded or created by this unit, deleted or not."""
        return self._loaded.get((model, key)) or self._recorder.created.get((model, key))

    def add_client_id(self, row: Row) -> None:
        """Let operations of the batch find the row by its client_id, if it has one."""
        client_id = getattr(row, "client_id", None)
        if client_id is not None:
            self._client_ids[type(row), client_id] = row

    def children(self, target: Children, parent: Row) -> list[Row]:
        """All rows that point to `parent`, in id order, without deleted ones."""
        index = self._children.get((target.model, target.column))
        if index is None:
            index = self._children[target.model, target.column] = {}
            for (model, _), row in [*self._loaded.items(), *self._recorder.created.items()]:
                if model is target.model:
                    index.setdefault(getattr(row, target.column), []).append(row)
        rows = [row for row in index.get(parent.id, ()) if not self._recorder.is_deleted(row)]
        return sorted(rows, key=lambda row: row.id)

    def forget_children(self, model: type | None = None) -> None:
        """Rows (of `model`) were created, changed or taken back: which parents they point to is looked up anew."""
        for key in [key for key in self._children if model in (None, key[0])]:
            del self._children[key]

    def via(self, target: Via, row: Row) -> Row | None:
        """The row that `row` points to now."""
        key = getattr(row, target.column)
        if key is None:
            return None
        pointed = self.get(target.model, key)
        if pointed is None:
            raise LookupError(
                f"{target.model.__name__} {key}, to which {target.column} points, was not loaded with the batch: "
                "declare the operation's other rows by_id, so that the ones it moves to are known."
            )
        return pointed
