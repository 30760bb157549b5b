"""Corrections: somebody in the office changes a row by an operation of an installed type (contract, section 8).

The operation goes through the same pipeline as a device's, as a batch of one: schema, policy, versions, ledger. The
history names the door `office`. Only a device syncs, so the user's last sync stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import uuid4

import orjson
from marshmallow import Schema
from marshmallow.fields import Dict as DictField

from app.core.host.handlers import by_ids, core_keys, creates
from app.core.host.registry import current_registry
from app.core.ledger.record import Origin
from app.core.sync.attempt import Batch
from app.core.sync.batch import process_batch
from app.core.sync.items import read_items
from app.core.values import JsonObject, Values
from app.plugin_api import ActingUser, Model, Row, SyncHandler, Via
from app.policies import Somebody


@dataclass(frozen=True, kw_only=True)
class Applied:
    """The operation was applied, or changed nothing."""

    message: str
    #: The row's version now; None where the type has none, or nothing was changed.
    version: str | None


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """Somebody has changed the same row since the version that was seen. Nothing was written."""

    #: The row's version now, to send with the next try.
    version: str
    #: The row's fields now, and the fields of the version that was seen; None where nobody knows that one.
    present: JsonObject
    seen: JsonObject | None
    #: The fields that both have changed.
    fields: list[str]


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The operation was refused: by schema, policy, or the type itself. Nothing was written."""

    code: str
    error: str
    message: str
    #: Field -> messages, as far as it says which fields are at fault.
    details: JsonObject


Correction: TypeAlias = Applied | Conflict | Refused


@dataclass(frozen=True, kw_only=True, eq=False)
class Form:
    """How the rows of a model are corrected: by a type that sets any of these fields."""

    handler: SyncHandler
    #: The fields that are columns, each a key of the payload.
    columns: frozenset[str]
    #: The key of the payload that holds those of the document; None: they cannot be set.
    document: str | None

    def takes(self, name: str) -> bool:
        """Whether the field can be set."""
        return name in self.columns or (self.document is not None and name not in self.handler_columns)

    @property
    def handler_columns(self) -> frozenset[str]:
        """The names that never mean a key of the document."""
        return core_keys(self.handler) | {column.key for column in self.handler.target.model.__mapper__.column_attrs}

    def payload(self, key: int | str, version: str, values: Values) -> JsonObject:
        """The payload that sets `values` of the row with this id, as of a version."""
        payload = {name: value for name, value in values.items() if name in self.columns}
        keys = {name: value for name, value in values.items() if name not in self.columns}
        if self.document is not None and keys:
            payload[self.document] = keys
        return {**payload, self.handler.target.keys[0]: key, "updated_at": version}


def apply_in_office(user: Somebody, type_: str, payload: Mapping[str, Any]) -> Correction:
    """Apply one operation of an installed type for somebody in the office.

    `payload`: as a device sends it, with the row's id and, in `updated_at`, the version that was seen.
    Raises `TryAgainError` where nothing was recorded, and `UnauthorizedError` if the user has been deactivated.
    """
    registry = current_registry()
    handler = registry.routes.get(type_)
    key = "data" if handler is None else handler.data_keys[0]
    items = read_items({"sync_items": [{"type": type_, "local_id": str(uuid4()), key: dict(payload)}]}, registry)
    origin = Origin(door="office", user_id=user.id)
    # An entry is encoded before the commit, and read again here.
    answer = orjson.loads(orjson.dumps(process_batch(Batch(items=items, origin=origin, registry=registry))))
    results = answer["results"]
    if results["success"]:
        entry = results["success"][0]
        return Applied(message=entry["message"], version=entry.get("updated_at"))
    if results["conflicts"]:
        data = results["conflicts"][0]["conflict_data"]
        return Conflict(
            version=data["server_version"],
            present=data["server_data"],
            seen=data["base_data"],
            fields=data["conflicting_fields"],
        )
    entry = results["errors"][0]
    details = entry.get("details") or {}
    return Refused(code=entry["code"], error=entry["error"], message=entry["message"], details=details)


def form_of(model: Model) -> Form | None:
    """How the rows of a model are corrected; None if no installed type takes a change of single fields."""
    forms = [form for type_ in current_registry().handlers.values() if (form := _form(type_.handler, model))]
    return max(forms, key=_reach, default=None)


def may_correct(user: Somebody, form: Form, row: Row) -> bool:
    """Whether the type's policy lets the user change the row. The pipeline asks again, under the locks."""
    acting = ActingUser(id=user.id, email=user.email, name=user.name, role=user.role, active=user.active)
    return bool(form.handler.policy(acting, row))


def _reach(form: Form) -> tuple[bool, int, str]:
    return form.document is not None, len(form.columns), form.handler.type


def _form(handler: SyncHandler, model: Model) -> Form | None:
    if handler.target.model is not model or not handler.versioned or _needs_others(handler):
        return None
    declared = _settable(handler)
    entity = model.__entity__
    document = entity.document if isinstance(declared.get(entity.document), DictField) else None
    columns = {column.key for column in model.__mapper__.column_attrs} - {entity.document, *entity.unrecorded}
    form = Form(handler=handler, columns=frozenset(declared) & columns, document=document)
    return form if form.columns or form.document else None


def _needs_others(handler: SyncHandler) -> bool:
    """Whether it needs the ids of further rows, or acts on rows that nobody has named."""
    others = [target for target in by_ids(handler) if target not in (handler.target, handler.target.parent)]
    via = any(isinstance(target, Via) for target in handler.rows.values())
    return via or any(not target.optional for target in others)


def _settable(handler: SyncHandler) -> dict[str, Any]:
    """The fields of the schema that a change of a row may set."""
    schema: Schema = handler.schema(partial=creates(handler))
    new_alone = getattr(handler.schema, "only_for_new_rows", ())
    return {name: field for name, field in schema.fields.items() if name not in new_alone and not field.dump_only}
