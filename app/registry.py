"""Finds, checks and indexes what plugins bring. Loading happens in `create_app`, never at import.

A half-loaded server would refuse work that a device has kept for days: any finding stops the start, and all
findings come in one message, each with entry point, distribution and what to do.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from flask import Flask, current_app
from marshmallow import Schema
from sqlalchemy import String
from sqlalchemy import inspect as sqlalchemy_inspect

from app.errors import PluginError
from app.plugin_api import API_VERSION, ById, Children, Entity, Plugin, SyncHandler, Target, Via

HANDLERS = "fieldpost.sync_handlers"
PLUGINS = "fieldpost.plugins"

#: What an operation type, an alias or a plugin may be called.
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

#: Keys of a payload that are the core's; a handler's own keys must not be among them.
CORE_KEYS = frozenset({"updated_at", "resolve_strategy"})


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A handler with where it came from."""

    handler: SyncHandler
    #: `plugins.photos:handler`.
    entry_point: str
    distribution: str
    version: str


@dataclass(kw_only=True)
class Registry:
    """All handlers, by type and by alias, and the entities of the models that they touch."""

    handlers: dict[str, Registered] = field(default_factory=dict)
    #: Wire type or alias -> handler.
    routes: dict[str, SyncHandler] = field(default_factory=dict)
    plugins: dict[str, Plugin] = field(default_factory=dict)
    #: Entity name -> model.
    models: dict[str, type] = field(default_factory=dict)

    #: Handler type -> its plugin's settings.
    settings: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def settings_of(self, handler: SyncHandler) -> Mapping[str, Any]:
        """The settings of the plugin that the handler belongs to."""
        return self.settings.get(handler.type, {})

    def key_of(self, model: type, text: str) -> Any:
        """A row's id from its text in the ledger."""
        return text if isinstance(sqlalchemy_inspect(model).primary_key[0].type, String) else int(text)

    def origin_of(self, handler: SyncHandler) -> dict[str, str]:
        """Type, distribution and version of a handler, for the log."""
        registered = self.handlers[handler.type]
        return {"type": handler.type, "distribution": registered.distribution, "version": registered.version}

    @property
    def types(self) -> list[str]:
        """All wire types and aliases, sorted."""
        return sorted(self.routes)


def current_registry() -> Registry:
    """The registry of the current application."""
    found: Registry = current_app.extensions["fieldpost.registry"]
    return found


def load_registry(app: Flask, found: Iterable[EntryPoint] | None = None) -> Registry:
    """Load and check all installed handlers and plugins. Raises `PluginError` with all findings."""
    registry = Registry()
    findings: list[str] = []
    entries = list(found) if found is not None else [*entry_points(group=HANDLERS), *entry_points(group=PLUGINS)]
    # Two distributions may claim one name, and neither comes first in a useful order (trap 22).
    for entry in sorted(entries, key=lambda each: (each.group, each.name, each.value)):
        findings += _load(registry, entry)
    if findings:
        raise PluginError(_all(findings))
    for each in registry.handlers.values():
        for model in models_of(each.handler):
            registry.models[model.__entity__.name] = model  # type: ignore[attr-defined]
    app.extensions["fieldpost.registry"] = registry
    return registry


def _all(findings: list[str]) -> str:
    count = "One plugin cannot" if len(findings) == 1 else f"{len(findings)} things about plugins cannot"
    lines = "\n".join(f"  {index}. {each}" for index, each in enumerate(findings, 1))
    return f"{count} be used; the server does not start half-loaded:\n{lines}"


def _load(registry: Registry, entry: EntryPoint) -> Iterator[str]:
    name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "0")
    where = f"{entry.group} entry point {entry.name!r} = {entry.value!r} of {name} {version}"
    try:
        loaded = entry.load()
    except Exception as error:  # a plugin may raise anything while it is imported
        yield (
            f"{where}: importing it raised {type(error).__name__}: {error}. "
            f"Mend it, or uninstall it with `pip uninstall {name}`."
        )
        return
    if entry.group == PLUGINS:
        yield from _add_plugin(registry, loaded, entry, where)
    elif not isinstance(loaded, SyncHandler):
        yield f"{where}: it is a {type(loaded).__name__}, not a SyncHandler. Point it at a SyncHandler(…)."
    else:
        registered = Registered(handler=loaded, entry_point=entry.value, distribution=name, version=version)
        yield from _add_handler(registry, registered, entry, where)


def _add_plugin(registry: Registry, loaded: object, entry: EntryPoint, where: str) -> Iterator[str]:
    if not isinstance(loaded, Plugin):
        yield f"{where}: it is a {type(loaded).__name__}, not a Plugin. Point it at a Plugin(…)."
    elif not NAME.fullmatch(loaded.name) or loaded.name != entry.name:
        yield f"{where}: its name is {loaded.name!r}. Use lower-case words, the same as the entry point's name."
    elif loaded.name in registry.plugins:
        yield f"{where}: the plugin name {loaded.name!r} is taken. Uninstall one of the two distributions."
    elif loaded.api_version != API_VERSION:
        yield (
            f"{where}: it is written for plugin API {loaded.api_version}, this server has {API_VERSION}. "
            "Install the release of the plugin, or of Fieldpost, that fits."
        )
    else:
        registry.plugins[loaded.name] = loaded


def _add_handler(registry: Registry, registered: Registered, entry: EntryPoint, where: str) -> Iterator[str]:
    handler = registered.handler
    findings = [f"{where}: {each}" for each in _check(handler, entry.name)]
    for name in (handler.type, *handler.aliases):
        other = registry.routes.get(name)
        if other is not None:
            owner = registry.handlers[other.type]
            findings.append(
                f"{where}: the type {name!r} is already that of {owner.entry_point!r} of {owner.distribution} "
                f"{owner.version}. Uninstall one of the two, or rename a type."
            )
    if not findings:
        registry.handlers[handler.type] = registered
        registry.routes |= dict.fromkeys((handler.type, *handler.aliases), handler)
    yield from findings


def _check(handler: SyncHandler, name: str) -> Iterator[str]:
    """What is wrong with one handler, by itself."""
    if handler.type != name:
        yield f"its type is {handler.type!r}. Give the entry point the same name."
    for each in (handler.type, *handler.aliases):
        if not NAME.fullmatch(each):
            yield f"{each!r} cannot be a type. Use lower-case letters, digits and underscores."
    if not _is_schema(handler.schema):
        yield f"its schema is {handler.schema!r}. State a marshmallow Schema class."
    for what, function, arity in (("policy", handler.policy, 2), ("apply", handler.apply, 2)):
        if not _takes(function, arity):
            yield f"its {what} cannot be called with {arity} arguments. See app.plugin_api for what it is given."
    for model in models_of(handler):
        if not isinstance(getattr(model, "__entity__", None), Entity):
            yield f"the model {getattr(model, '__name__', model)!r} has no `__entity__ = Entity(…)`. Give it one."
    if not isinstance(handler.target, ById) or handler.target.optional:
        yield "its target is not a by_id(…) that is always there. An operation acts on one row that the payload names."


def _is_schema(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Schema)


def _takes(function: Callable[..., Any], arity: int) -> bool:
    try:
        inspect.signature(function).bind(*range(arity))
    except TypeError:
        return False
    except ValueError:
        return True  # a callable written in C tells no signature
    return True


def models_of(handler: SyncHandler) -> Iterator[type]:
    """The models that a handler's targets name."""
    targets: list[Target | None] = [handler.target, *handler.rows.values(), *handler.reads.values()]
    for target in targets:
        if isinstance(target, ById | Via | Children):
            yield target.model
            if isinstance(target, ById) and target.parent is not None:
                yield target.parent.model


def mount_blueprints(app: Flask, registry: Registry, prefix: str) -> None:
    """Register every plugin's blueprint below `prefix`."""
    for plugin in registry.plugins.values():
        if plugin.blueprint is not None:
            app.register_blueprint(plugin.blueprint, url_prefix=prefix)


def plugin_settings(registry: Registry, unknown: Mapping[str, str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Every plugin's settings from `FIELDPOST_<PLUGIN>_<NAME>`, and the names that belong to nobody."""
    taken: set[str] = set()
    settings: dict[str, dict[str, Any]] = {}
    for plugin in registry.plugins.values():
        values = settings.setdefault(plugin.name, {})
        for name, default in plugin.settings.items():
            key = f"FIELDPOST_{plugin.name}_{name}".upper()
            taken.add(key)
            values[name] = type(default)(unknown[key]) if key in unknown else default
    return settings, sorted(set(unknown) - taken)
