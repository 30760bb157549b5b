"""The rejections that the core itself makes of an operation."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from app.core.host.registry import Registry
from app.errors import Rejected
from app.plugin_api import SyncHandler

logger = logging.getLogger(__name__)

#: The message about a key that has to be there.
REQUIRED = "Missing data for required field."

#: Advice for an unknown type, unless a plugin supplies its own.
UNKNOWN_TYPE = "Keep the item: the plugin that knows its type may be missing here, or removed."


def invalid(details: Mapping[str, object] | None, message: str = "") -> Rejected:
    """The rejection of an item or a payload, with a list of messages for each field."""
    return Rejected("invalid", "Invalid payload", message, details=details)


def without_frames(rejected: Rejected) -> Rejected:
    """The same rejection without the calls that it was raised in.

    They hold the item that holds the rejection. A batch of refused items would leave nothing but such circles, which
    Python finds only by looking through everything.
    """
    rejected.__cause__ = rejected.__context__ = None
    return rejected.with_traceback(None)


def unknown_type(name: str, registry: Registry) -> Rejected:
    """The rejection of an item whose type no installed plugin handles."""
    hint = registry.removed.get(name, UNKNOWN_TYPE)
    return Rejected("invalid_type", "Invalid sync type", f"{hint} This server knows: {', '.join(registry.types)}.")


def of_nobody() -> Rejected:
    """The rejection of an operation from the rescue file of somebody who has been deactivated."""
    return Rejected("forbidden", "The sender has been deactivated", "Somebody in the office may decide it.")


def failed(handler: SyncHandler | None, index: int, local_id: object, registry: Registry) -> Rejected:
    """The rejection of an operation whose handler has a bug: nothing is wrong with the item.

    Call it while the exception is handled: it is logged with the handler's origin, never with data.
    """
    origin = {} if handler is None else registry.origin_of(handler)
    logger.exception("handler failed", extra={**origin, "index": index, "local_id": local_id})
    return not_tried()


def not_tried() -> Rejected:
    """The rejection of an operation whose handler does not end, or ends the worker, so that it is not tried again."""
    return Rejected("handler_failed", "Internal error", retryable=True)


def suspected(handler: SyncHandler, index: int, local_id: object, registry: Registry) -> Rejected:
    """The rejection of an operation at which workers have ended: it would take the whole batch along once more."""
    extra = {**registry.origin_of(handler), "index": index, "local_id": local_id}
    logger.error("item not tried, since workers have ended at it", extra=extra)
    return not_tried()
