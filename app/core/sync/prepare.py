"""Reads the payloads of a batch: the core's keys, the rest through the handler's schema.

All of it happens before the transaction. A fault is kept with the item and answered only after the recall, since
a remembered outcome goes before schema, policy and the target's existence (contract, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial

from marshmallow import Schema, ValidationError

from app.core.host.handlers import core_keys
from app.core.host.registry import Registry
from app.core.host.watch import BUGS, UNWATCHED, Watch
from app.core.sync.items import Item, Routed, fresh_copy
from app.core.sync.keys import read_keys
from app.core.sync.refusals import failed, invalid, not_tried
from app.errors import Rejected
from app.http.body import details_of
from app.plugin_api import SyncHandler


def prepare(items: Iterable[Item], registry: Registry, watch: Watch = UNWATCHED) -> list[Item]:
    """The items with their payloads read; a fault stays with its item."""
    prepared = list(items)
    groups: dict[tuple[int, bool], list[Routed]] = {}
    for item in prepared:
        if isinstance(item, Routed):
            _read_core(item, registry, watch)
            if item.fault is None:
                groups.setdefault((id(item.handler), _is_partial(item)), []).append(item)
    for (_, is_partial), group in groups.items():
        _load(group, is_partial, registry, watch)
    return prepared


def prepare_again(items: Iterable[Item], registry: Registry, watch: Watch) -> list[Item]:
    """The same items from fresh copies of the payloads, without the changes that a handler made to the first ones."""
    return prepare(map(fresh_copy, items), registry, watch)


def _read_core(item: Routed, registry: Registry, watch: Watch) -> None:
    """Let the handler upcast the payload, and take the core's keys out of it."""
    if watch.has_given_up(item.handler):
        item.fault = not_tried()
    elif item.handler.upcast is not None:
        _guarded(item, _upcast, registry, watch)
    if item.fault is not None:
        return
    try:
        item.keys = read_keys(item.payload, item.handler)
    except Rejected as rejected:
        item.fault = rejected
    else:
        taken = core_keys(item.handler)
        item.payload = {key: value for key, value in item.payload.items() if key not in taken}


def _is_partial(item: Routed) -> bool:
    """Whether required fields may be missing: only where the same schema is also that of a create."""
    return item.keys.target is not None and item.handler.target.parent is not None


def _guarded(item: Routed, read: Callable[[Routed], None], registry: Registry, watch: Watch) -> None:
    """Run a handler's own code on one item; an exception of any kind is this item's fault only."""
    if watch.has_given_up(item.handler):
        item.fault = not_tried()
        return
    try:
        with watch(item.handler):
            read(item)
    except Rejected as rejected:
        item.fault = rejected
    except ValidationError as error:
        item.fault = invalid(details_of(error))
    except BUGS:
        item.fault = failed(item.handler, item.index, item.local_id, registry)


def _load(group: list[Routed], is_partial: bool, registry: Registry, watch: Watch) -> None:
    """Load all payloads at once; one by one where that fails, since one bad item spoils the whole (trap 19)."""
    handler = group[0].handler
    schema = _schema(handler, is_partial)
    try:
        with watch(handler):
            loaded = schema.load([item.payload for item in group], many=True)
    except BUGS:
        for item in group:
            _guarded(item, partial(_load_one, schema), registry, watch)
    else:
        for item, data in zip(group, loaded, strict=True):
            item.data = data


def _load_one(schema: Schema, item: Routed) -> None:
    item.data = schema.load(item.payload)


@lru_cache(maxsize=512)
def _schema(handler: SyncHandler, is_partial: bool) -> Schema:
    schema: Schema = handler.schema(partial=is_partial)
    return schema


def _upcast(item: Routed) -> None:
    """Let the handler turn an older app's payload into today's."""
    assert item.handler.upcast is not None
    payload = item.handler.upcast(dict(item.payload))
    if not isinstance(payload, dict):
        raise TypeError(f"upcast returned {type(payload).__name__}; a dict is needed.")
    item.payload = payload
