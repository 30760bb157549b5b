"""Questions about a handler that the core asks for every item of a batch; each is answered once a handler."""

from __future__ import annotations

from functools import cache

from app.plugin_api import ById, Children, SyncHandler, Target, Via

#: The core's keys in the payload of a type that has versions.
VERSION_KEYS = frozenset({"updated_at", "resolve_strategy"})


@cache
def core_keys(handler: SyncHandler) -> frozenset[str]:
    """The keys of a payload that are the core's and never reach the schema: ids, versions, `client_id`."""
    ids = {key for target in by_ids(handler) for key in target.keys}
    versions = VERSION_KEYS if handler.versioned else frozenset()
    client_id = {"client_id"} if takes_client_id(handler) else set()
    return frozenset(ids | versions | client_id)


def creates(handler: SyncHandler) -> bool:
    """Whether a payload without an id makes a new row: below another one, or a new inspection."""
    return handler.target.parent is not None or handler.target.is_new_root


@cache
def takes_client_id(handler: SyncHandler) -> bool:
    """Whether the payload may carry the `client_id` of a new row."""
    return creates(handler) and hasattr(handler.target.model, "client_id")


@cache
def models_of(handler: SyncHandler) -> tuple[type, ...]:
    """The models that a handler's targets name, each once."""
    models: list[type] = []
    for target in _targets(handler):
        if isinstance(target, ById | Via | Children):
            models.append(target.model)
            if isinstance(target, ById) and target.parent is not None:
                models.append(target.parent.model)
    return tuple(dict.fromkeys(models))


@cache
def by_ids(handler: SyncHandler) -> tuple[ById, ...]:
    """The targets that the payload names by id."""
    target, *others = _targets(handler)
    return tuple(named for named in (target, handler.target.parent, *others) if isinstance(named, ById))


def _targets(handler: SyncHandler) -> list[Target]:
    return [handler.target, *handler.rows.values(), *handler.reads.values()]
