"""The examples of installed types, checked at the start: an author of an app copies them."""

from __future__ import annotations

from collections.abc import Iterator

from app.core.host.findings import Finding, Kind
from app.core.host.registry import Registered, Registry
from app.core.sync.items import Item, Refused, read_items
from app.core.sync.prepare import prepare

WRONG_EXAMPLE = Kind("its example {number} {fault}", "Correct the example, or the schema.")


def wrong_examples(registry: Registry) -> Iterator[Finding]:
    """Everything that is wrong with the examples of the registry's handlers. Needs an application context."""
    for registered in registry.handlers.values():
        items = read_items({"sync_items": list(registered.handler.examples)}, registry)
        for item in prepare(items, registry):
            fault = _fault(item, registered)
            if fault is not None:
                where = f"{registered.entry_point} of {registered.distribution} {registered.version}"
                yield WRONG_EXAMPLE.at(where, number=item.index + 1, fault=fault)


def _fault(item: Item, registered: Registered) -> str | None:
    fault = item.rejected if isinstance(item, Refused) else item.fault
    if fault is not None:
        return f"is refused: {fault.error} {fault.details or fault.message}"
    if item.handler is not registered.handler:
        return f"is of the type {item.type!r}"
    return None
