"""Reads the payloads of a batch: the core's keys, the rest through the handler's schema.

All of it happens before the transaction. A fault is kept with the item and answered only after the recall, since
a remembered outcome goes before schema, policy and the target's existence (contract, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial

import orjson
from marshmallow import Schema, ValidationError

from app.core.host.handlers import core_keys, creates
from app.core.host.registry import Registry
from app.core.host.watch import BUGS, UNWATCHED, Watch
from app.core.sync.items import Item, Routed, fingerprint, fresh_copy
from app.core.sync.keys import decided_keys, read_keys
from app.core.sync.refusals import failed, invalid, not_tried, suspected, without_frames
from app.core.values import JsonObject
from app.errors import Rejected
from app.http.body import details_of, find_unstorable
from app.plugin_api import SyncHandler

#: The most bytes, as JSON, of the messages about one payload: there is one for each unknown key.
MAX_DETAIL_BYTES = 32 * 1024

#: At how many endings of a worker an item is not tried again.
MOST_ENDINGS = 2


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
    elif watch.endings(item.fingerprint) >= MOST_ENDINGS:
        item.fault = suspected(item.handler, item.index, item.local_id, registry)
    elif item.handler.upcast is not None:
        _guarded(item, _upcast, registry, watch)
    if item.fault is not None:
        return
    try:
        item.keys = read_keys(item.payload, item.handler)
    except Rejected as rejected:
        item.fault = without_frames(rejected)
    else:
        taken = core_keys(item.handler)
        item.payload = {key: value for key, value in item.payload.items() if key not in taken}
        if item.terms is not None:
            item.keys = decided_keys(item.keys, item.terms.version, item.handler)


def _is_partial(item: Routed) -> bool:
    """Whether required fields may be missing: only where the same schema is also that of a create."""
    return item.keys.target is not None and creates(item.handler)


def _guarded(item: Routed, read: Callable[[Routed], None], registry: Registry, watch: Watch) -> None:
    """Run a handler's own code on one item; an exception of any kind is this item's fault only."""
    if watch.has_given_up(item.handler):
        item.fault = not_tried()
        return
    try:
        with watch(item.handler, item.fingerprint):
            item.fault = _fault_of(read, item)
    except BUGS:
        item.fault = failed(item.handler, item.index, item.local_id, registry)


def _fault_of(read: Callable[[Routed], None], item: Routed) -> Rejected | None:
    """The refusal that a handler's own code answers an item with."""
    try:
        read(item)
    except Rejected as rejected:
        return without_frames(rejected)
    except ValidationError as error:
        # One of the calls that it was raised in holds it: see `without_frames`.
        return _refusal(details_of(error.with_traceback(None)))
    return None


def _refusal(details: JsonObject) -> Rejected:
    """The rejection with as many of the details as have room in it. Raises `TypeError` where they are no JSON."""
    if len(orjson.dumps(details)) <= MAX_DETAIL_BYTES:
        return invalid(details)
    kept, room = {}, MAX_DETAIL_BYTES
    for key, messages in details.items():
        room -= len(orjson.dumps([key, messages]))
        if room < 0:
            break
        kept[key] = messages
    return invalid(kept, f"{len(details) - len(kept)} more fields were refused than `details` has room for.")


def _load(group: list[Routed], is_partial: bool, registry: Registry, watch: Watch) -> None:
    """Load all payloads at once; one by one where that fails, since one bad item spoils the whole (trap 19)."""
    handler = group[0].handler
    together = fingerprint("".join(item.fingerprint for item in group).encode())
    if watch.endings(together):
        _load_carefully(group, is_partial, registry, watch)
        return
    try:
        with watch(handler, together):
            loaded = _schema(handler, is_partial).load([item.payload for item in group], many=True)
            # A schema's own code may return another number of elements.
            pairs = list(zip(group, loaded, strict=True))
    except BUGS as error:
        # As in `_fault_of`. Each error is told with its own item.
        error.with_traceback(None)
        for item in group:
            _guarded(item, partial(_load_one, is_partial), registry, watch)
    else:
        for item, data in pairs:
            item.data = data


def _load_carefully(group: list[Routed], is_partial: bool, registry: Registry, watch: Watch) -> None:
    """Load payloads one by one: a worker has ended while it loaded all of them, for one that nobody knows yet."""
    for item in group:
        if watch.endings(item.fingerprint):
            item.fault = suspected(item.handler, item.index, item.local_id, registry)
        else:
            _guarded(item, partial(_load_one, is_partial), registry, watch)


def _load_one(is_partial: bool, item: Routed) -> None:
    item.data = _schema(item.handler, is_partial).load(item.payload)


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
    # The rows that these name are loaded for the whole batch, so that a value which no database takes would fail all.
    unstorable = find_unstorable({key: payload[key] for key in core_keys(item.handler) & payload.keys()})
    if unstorable is not None:
        raise ValueError(f"upcast returned a payload that cannot be stored: {unstorable}")
    item.payload = payload
