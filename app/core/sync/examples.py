"""The examples of installed types, checked at the start: an author of an app copies them."""

from __future__ import annotations

from collections.abc import Iterator

from app.core.host.registry import Registered, Registry
from app.core.sync.items import Item, Refused, read_items
from app.core.sync.prepare import prepare


def wrong_examples(registry: Registry) -> Iterator[str]:
    """A sentence about each wrong example of the registry's handlers. Needs an application context."""
    for registered in registry.handlers.values():
        items = read_items({"sync_items": list(registered.handler.examples)}, registry)
        for item in prepare(items, registry):
            fault = _fault(item, registered)
            if fault is not None:
                yield (
                    f"{registered.entry_point} of {registered.distribution} {registered.version}: "
                    f"its example {item.index + 1} {fault}. Correct the example, or the schema."
                )


def _fault(item: Item, registered: Registered) -> str | None:
    fault = item.rejected if isinstance(item, Refused) else item.fault
    if fault is not None:
        return f"is refused: {fault.error} {fault.details or fault.message}"
    if item.handler is not registered.handler:
        return f"is of the type {item.type!r}"
    return None
