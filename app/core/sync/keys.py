"""The core's keys of a payload: ids, `client_id`, `updated_at`, `resolve_strategy`. The schema takes all others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import String, inspect

from app.clock import to_wire
from app.core.host.handlers import creates, takes_client_id
from app.core.sync.conflicts import STRATEGIES
from app.core.sync.refusals import REQUIRED, invalid
from app.core.values import UUID_FORM, parse_timestamp, read_id, read_key, read_text_id
from app.models.entities import entity_of
from app.plugin_api import ById, SyncHandler

#: The payload of an item: JSON values by name.
Payload: TypeAlias = dict[str, Any]


class Reference(NamedTuple):
    """A row as a payload names it: by id, or by the client_id that a device made."""

    model: type
    key: int | str
    is_client_id: bool = False


#: The names that a payload gives for one of a handler's `rows` and `reads`.
Named: TypeAlias = Reference | list[Reference] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CoreKeys:
    """The rows that a payload names, and the version that it stands on."""

    #: The existing row that is named; None for a create.
    target: Reference | None = None
    #: Whether the payload makes a new row.
    is_create: bool = False
    #: The row below which to create; None for a new inspection.
    parent: Reference | None = None
    #: The client_id of a create, in lower case.
    client_id: str | None = None
    #: Columns that never change, as the payload names them: a value, or a `Reference` by client_id.
    identity: Mapping[str, object] = field(default_factory=dict)
    #: The rows that `rows` and `reads` name by id: one, none, or a list.
    references: Mapping[str, Named] = field(default_factory=dict)
    #: The client's `updated_at`, parsed and as sent.
    version: datetime | None = None
    sent_version: str | None = None
    strategy: str | None = None


#: The keys of an item whose payload has not been read.
NO_KEYS = CoreKeys()


def read_keys(payload: Payload, handler: SyncHandler) -> CoreKeys:
    """The core's keys of a payload. Raises `Rejected` (`invalid`)."""
    version, strategy = _read_version(payload) if handler.versioned else (None, None)
    may_create = creates(handler)
    is_required = not may_create and not handler.target.optional
    target = _read_reference(payload, handler.target, required=is_required)
    client_id = _read_client_id(payload) if takes_client_id(handler) else None
    is_create = target is None and may_create
    parent = _read_parent(payload, handler.target) if is_create else None
    further = _further_rows(handler)
    references = {name: _read_named(payload, by_id) for name, by_id in further}
    return CoreKeys(
        target=target,
        is_create=is_create,
        parent=parent,
        client_id=client_id,
        identity=_identity(payload, handler, client_id),
        references=references,
        version=version,
        sent_version=payload.get("updated_at") if handler.versioned else None,
        strategy=strategy,
    )


def created_rows(payload: Payload, keys: CoreKeys, handler: SyncHandler) -> set[Reference]:
    """The rows that a create names by their client_ids, also where the rest of its keys could not be read."""
    is_create = keys.target is None and not any(payload.get(key) is not None for key in handler.target.keys)
    if not is_create or not takes_client_id(handler):
        return set()
    named = [(handler.target.model, keys.client_id or payload.get("client_id"))]
    for key, model in handler.makes.items():
        client_ids = payload.get(key)
        named += [(model, client_id) for client_id in client_ids] if isinstance(client_ids, list) else []
    return {Reference(model, one.lower(), is_client_id=True) for model, one in named if isinstance(one, str)}


def decided_keys(keys: CoreKeys, version: datetime | None, handler: SyncHandler) -> CoreKeys:
    """The keys of an item that the office decides, on the version that it has seen."""
    if version is None or not handler.versioned:
        return replace(keys, strategy=None)
    return replace(keys, version=version, sent_version=to_wire(version), strategy=None)


@cache
def _further_rows(handler: SyncHandler) -> list[tuple[str, ById]]:
    """The rows that `rows` and `reads` name by id."""
    named = {**handler.rows, **handler.reads}
    return [(name, target) for name, target in named.items() if isinstance(target, ById)]


def _read_version(payload: Payload) -> tuple[datetime | None, str | None]:
    """The client's version, and its strategy for a conflict."""
    sent, strategy = payload.get("updated_at"), payload.get("resolve_strategy")
    try:
        version = None if sent is None else parse_timestamp(sent)
    except ValueError as error:
        raise invalid({"updated_at": [str(error)]}) from None
    if strategy is not None and strategy not in STRATEGIES:
        raise invalid({"resolve_strategy": [f"Must be one of: {', '.join(STRATEGIES)}."]})
    return version, strategy


def _read_client_id(payload: Payload) -> str | None:
    client_id = payload.get("client_id")
    if client_id is None:
        return None
    if not isinstance(client_id, str) or not UUID_FORM.fullmatch(client_id):
        raise invalid({"client_id": ["Not a valid UUID."]})
    return client_id.lower()


def _read_parent(payload: Payload, target: ById) -> Reference | None:
    """The row below which to create; None for a new inspection, which its client_id makes."""
    parent = target.parent
    needed = ("client_id",) if parent is None else parent.keys
    if not any(payload.get(key) is not None for key in needed):
        raise invalid({target.keys[0]: [f"Send this to change a row, or {needed[0]} to create one."]})
    return None if parent is None else _read_reference(payload, parent, required=True)


def _identity(payload: Payload, handler: SyncHandler, client_id: str | None) -> Payload:
    """The columns that never change, as the payload names them."""
    names = entity_of(handler.target.model).identity
    identity = {name: payload[name] for name in names if payload.get(name) is not None}
    if client_id is not None:
        identity["client_id"] = client_id
    return _with_references(identity, handler) if identity else identity


def _with_references(identity: Payload, handler: SyncHandler) -> Payload:
    """The same, with the ids of rows read as ids."""
    rows = [target for _, target in _further_rows(handler)]
    if handler.target.parent is not None:
        rows.append(handler.target.parent)
    for target in rows:
        identity |= {key: _named(target, key, identity[key]) for key in target.keys if key in identity}
    return identity


def _named(target: ById, key: str, value: object) -> object:
    """The id that a value names. The row that a client_id names is only known once the rows are loaded."""
    reference = _reference(target.model, key, value)
    return reference if reference.is_client_id else reference.key


def _read_reference(payload: Payload, target: ById, *, required: bool) -> Reference | None:
    """The row that the payload names under one of the target's keys; null is the same as not sent."""
    sent = [key for key in target.keys if payload.get(key) is not None]
    if not sent:
        if required:
            raise invalid({target.keys[0]: [REQUIRED]})
        return None
    first, *others = [_reference(target.model, key, payload[key]) for key in sent]
    if any(other != first for other in others):
        raise invalid({key: ["Names another row than the other ids."] for key in sent})
    return first


def _read_named(payload: Payload, target: ById) -> Named:
    """The row, or the list of rows, that a payload names for one of `rows` and `reads`."""
    if target.most is None:
        return _read_reference(payload, target, required=not target.optional)
    key = target.keys[0]
    sent = payload.get(key)
    if sent is None and target.optional:
        return []
    if not isinstance(sent, list) or not 1 <= len(sent) <= target.most:
        raise invalid({key: [REQUIRED if sent is None else f"Not a list of 1 to {target.most} ids."]})
    references = [_reference(target.model, key, value) for value in sent]
    if len({*references}) < len(references):
        raise invalid({key: ["Each of them can be named once."]})
    return references


def _reference(model: type, key: str, value: object) -> Reference:
    read = _reader_of(model)
    try:
        row_key = read(value)
    except ValueError as error:
        raise invalid({key: [str(error)]}) from None
    return Reference(model, row_key, is_client_id=read is read_key and isinstance(row_key, str))


@cache
def _reader_of(model: type) -> Callable[[object], int | str]:
    """Reads the values that name rows of the model."""
    if isinstance(inspect(model).primary_key[0].type, String):
        return read_text_id
    return read_key if hasattr(model, "client_id") else read_id
