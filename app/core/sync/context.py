"""`app.plugin_api.Context`, by which `apply` acts, bound to one operation of one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson

from app.config import current_settings
from app.core.host.read_only import protect, read_only
from app.core.sync.attempt import Attempt
from app.core.sync.items import Routed
from app.core.sync.keys import Reference
from app.core.sync.targets import require_permission, taken
from app.errors import NoFieldError, Rejected
from app.models import Inspection
from app.models.entities import Fields, entity_of
from app.plugin_api import Row, recorded_columns

#: Advice where the operator lets no device make inspections.
OFFICE_ONLY = "This server takes no new inspections from devices. Set the item aside, and ask the office for one."


class OperationContext:
    """States an operation's changes to the recorder, and lets it touch only what was locked for it."""

    def __init__(self, attempt: Attempt, changeable: Iterable[Row], item: Routed, settings: Mapping[str, Any]) -> None:
        recorder = attempt.recorder
        self.user = attempt.user
        self.device_id = recorder.origin.device_id
        self.now: datetime = recorder.now
        self.settings = settings
        #: Calls to make once the batch is durable.
        self.calls: list[Callable[[], None]] = []
        self._recorder = recorder
        self._rows = attempt.rows
        self._changeable = set(changeable)
        self._client_id = item.keys.client_id
        self._may_make_root = item.keys.is_create and item.keys.parent is None
        self._policy = item.handler.policy
        self._max_document_bytes = attempt.max_document_bytes

    def create(self, model: type, parent: Row | None, values: Mapping[str, Any]) -> Row:
        """A new row of `model` below `parent`, or a new inspection; the first one takes the client_id that was sent."""
        if parent is not None:
            return self._create(model, parent.inspection, values)
        self._require_root(model)
        assignee_id = self.user.id if self.user.role == "technician" else None
        row = self._create(model, None, {"owner_id": self.user.id, "assignee_id": assignee_id, **values})
        # Nobody makes an inspection that they may not change.
        require_permission(self._policy, self.user, row)
        return row

    def _create(self, model: type, root: Row | None, values: Mapping[str, Any]) -> Row:
        # Copies: what the handler does to its own values later is neither stored nor recorded.
        values = {name: read_only(value) for name, value in values.items()}
        if self._client_id is not None and hasattr(model, "client_id"):
            values["client_id"], self._client_id = self._client_id, None
        client_id = values.get("client_id")
        if client_id is not None and self._rows.find(Reference(model, client_id, is_client_id=True)) is not None:
            raise taken()
        row: Row = self._recorder.create(model, values, root)
        self._bound_document(row, {})
        protect(row)
        if client_id is not None:
            self._rows.add_client_id(row)
        self._rows.forget_children(model)
        self._changeable.add(row)
        return row

    def change(self, row: Row, values: Mapping[str, Any]) -> None:
        """Set fields of a row that the operation declared as its target, in `rows`, or created."""
        self._require(row)
        _require_fields(row, values)
        former = _document_of(row)
        if self._recorder.change(row, {name: read_only(value) for name, value in values.items()}):
            self._bound_document(row, former)
            protect(row)
        self._rows.forget_children(type(row))

    def delete(self, row: Row) -> None:
        """Delete such a row."""
        self._require(row)
        self._recorder.delete(row)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call `call()` once the batch is durable."""
        self.calls.append(call)

    def _require_root(self, model: type) -> None:
        """Refuse a new row below nothing unless it is a new inspection that the operation may make."""
        if not self._may_make_root or model is not Inspection:
            raise TypeError(
                f"A new {model.__name__} needs a parent. Only an inspection stands below nothing, where the item has "
                "no id and the handler's target is by_id(Inspection, is_new_root=True)."
            )
        if not current_settings().field_inspections:
            raise Rejected("forbidden", "New inspections come from the office", OFFICE_ONLY)

    def _require(self, row: Row) -> None:
        if row not in self._changeable:
            raise TypeError(
                f"This {entity_of(row).label} was not declared as a row to change, so it is not locked: name it in "
                "the handler's `rows`."
            )

    def _bound_document(self, row: Row, former: Fields) -> None:
        """Raise `Rejected` if a row's document has grown over its limit (contract, section 0)."""
        document, limit = _document_of(row), self._max_document_bytes
        if not document or document is former:
            return
        size = len(orjson.dumps(document))
        # One that is too large already, because the limit was higher once, may still shrink.
        if size > limit and size > len(orjson.dumps(former)):
            message = f"This change would make it {size} bytes of JSON; at most {limit} are kept."
            raise Rejected("invalid", "Invalid payload", message, details={str(entity_of(row).document): [message]})


def _require_fields(row: Row, values: Iterable[str]) -> None:
    """Refuse names that are no fields: nobody would see such a change, and a merge would write over it in silence."""
    entity = entity_of(row)
    if entity.document is None and not set(values).issubset(recorded_columns(row.__class__)):
        raise NoFieldError(entity.label, recorded_columns(row.__class__))


def _document_of(row: Row) -> Fields:
    name = entity_of(row).document
    return getattr(row, name) if name else {}
