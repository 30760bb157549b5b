"""The examples of installed types, checked at the start: an author of an app copies them."""

from __future__ import annotations

from collections.abc import Iterator

from app.core.host.findings import Finding, Kind
from app.core.host.registry import Registered, Registry
from app.core.sync.items import read_items
from app.core.sync.prepare import Draft, prepare

WRONG_EXAMPLE = Kind("its example {number} {fault}", "Correct the example, or the schema.")


def wrong_examples(registry: Registry) -> Iterator[Finding]:
    """Everything that is wrong with the examples of the registry's handlers. Needs an application context."""
    for registered in registry.handlers.values():
        items = read_items({"sync_items": list(registered.handler.examples)})
        for draft in prepare(items, registry):
            fault = _fault(draft, registered)
            if fault is not None:
                where = f"{registered.entry_point} of {registered.distribution} {registered.version}"
                yield WRONG_EXAMPLE.at(where, number=draft.item.index + 1, fault=fault)


def _fault(draft: Draft, registered: Registered) -> str | None:
    if draft.fault is not None:
        return f"is refused: {draft.fault.error} {draft.fault.details or draft.fault.message}"
    if draft.handler is not registered.handler:
        return f"is of the type {draft.item.type!r}"
    return None
