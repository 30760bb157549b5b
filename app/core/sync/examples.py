"""The examples of installed types, checked at the start: an author of an app copies them."""

from __future__ import annotations

from collections.abc import Iterator

from app.core.host.registry import Registered, Registry
from app.core.sync.items import read_items
from app.core.sync.prepare import Draft, prepare


def wrong_examples(registry: Registry) -> Iterator[str]:
    """What is wrong with the examples of the registry's handlers. Needs an application context."""
    for registered in registry.handlers.values():
        items = read_items({"sync_items": list(registered.handler.examples)})
        for draft in prepare(items, registry):
            fault = _fault(draft, registered)
            if fault is not None:
                yield (
                    f"{registered.entry_point} of {registered.distribution} {registered.version}: "
                    f"its example {draft.item.index + 1} {fault}. Correct the example, or the schema."
                )


def _fault(draft: Draft, registered: Registered) -> str | None:
    if draft.fault is not None:
        return f"is refused: {draft.fault.error} {draft.fault.details or draft.fault.message}"
    if draft.handler is not registered.handler:
        return f"is of the type {draft.item.type!r}"
    return None
