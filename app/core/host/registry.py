"""The handlers, plugins and entities of one application, and the questions that the core asks about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from typing import Any

from flask import current_app
from sqlalchemy import String
from sqlalchemy import inspect as sqlalchemy_inspect

from app.core.database.engine import db
from app.core.values import Values
from app.models import Inspection
from app.plugin_api import Plugin, SyncHandler

#: The entry-point groups in which distributions state handlers and plugins.
HANDLERS = "fieldpost.sync_handlers"
PLUGINS = "fieldpost.plugins"


@cache
def entry_points_of(group: str) -> EntryPoints:
    """The entry points of all distributions in this group. What is installed stays so while a process lives."""
    return _entry_points()(group=group)


@cache
def _entry_points() -> Callable[..., EntryPoints]:
    """Selects among those of all groups. To read their files takes a fifth of a start."""
    return entry_points().select


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A handler with where it came from."""

    handler: SyncHandler
    #: `plugins.photos:handler`.
    entry_point: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.entry_point!r} of {self.distribution} {self.version}"


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A plugin with where it came from."""

    plugin: Plugin
    entry_point: str
    distribution: str
    version: str

    def __str__(self) -> str:
        origin = f"{self.entry_point!r} of {self.distribution} {self.version}"
        return f"{PLUGINS} entry point {self.plugin.name!r} = {origin}"


@dataclass(kw_only=True)
class Registry:
    """All handlers, by type and by alias, the plugins, and the entities of their models."""

    handlers: dict[str, Registered] = field(default_factory=dict)
    #: Wire type or alias -> handler.
    routes: dict[str, SyncHandler] = field(default_factory=dict)
    #: Plugin name -> plugin, with where it came from.
    installed: dict[str, Installed] = field(default_factory=dict)
    #: Entity name -> model.
    models: dict[str, type] = field(default_factory=dict)
    #: Handler type -> its plugin's settings.
    settings: dict[str, Values] = field(default_factory=dict)
    #: Removed type -> hint for devices that still send it.
    removed: dict[str, str] = field(default_factory=dict)
    #: Plugin name -> a sentence for each effect of its blueprint beyond its own routes.
    reach: dict[str, list[str]] = field(default_factory=dict)
    #: The blueprints of plugins' pages.
    pages: set[str] = field(default_factory=set)
    #: Top-level package -> distribution.
    packages: dict[str, str] = field(default_factory=dict)

    @property
    def plugins(self) -> dict[str, Plugin]:
        """Plugin name -> plugin."""
        return {name: installed.plugin for name, installed in self.installed.items()}

    @property
    def types(self) -> list[str]:
        """All wire types and aliases, sorted."""
        return sorted(self.routes)

    def settings_of(self, handler: SyncHandler) -> Values:
        """The settings of the plugin that the handler belongs to."""
        return self.settings.get(handler.type, {})

    def origin_of(self, handler: SyncHandler) -> dict[str, str]:
        """Type, distribution and version of a handler, for the log."""
        registered = self.handlers[handler.type]
        return {"type": handler.type, "distribution": registered.distribution, "version": registered.version}

    def plugin_of(self, registered: Registered) -> Plugin | None:
        """The plugin that a handler belongs to: stated in the same module, or the only one of its distribution."""
        own = [plugin for plugin in self.installed.values() if plugin.distribution == registered.distribution]
        near = [plugin for plugin in own if _module(plugin.entry_point) == _module(registered.entry_point)]
        candidates = near or own
        return candidates[0].plugin if len(candidates) == 1 else None

    def owner_of(self, table: str) -> str | None:
        """The name of the plugin whose table this is: the longest that it begins with."""
        names = [name for name in self.installed if table == name or table.startswith(f"{name}_")]
        return max(names, key=len, default=None)

    def tables_of(self, plugin: str) -> list[str]:
        """The names of a plugin's tables, parents first."""
        core = core_tables()
        names = [table.name for table in db.metadata.sorted_tables]
        return [name for name in names if name not in core and self.owner_of(name) == plugin]

    def distribution_of(self, model: type) -> str | None:
        """The distribution that defines a model; None if it brings neither handler nor plugin."""
        return self.packages.get(package_of(model))

    def key_of(self, model: type, text: str) -> Any:
        """A row's id from its text in the ledger."""
        return text if isinstance(sqlalchemy_inspect(model).primary_key[0].type, String) else int(text)


def current_registry() -> Registry:
    """The registry of the current application."""
    registry: Registry = current_app.extensions["fieldpost.registry"]
    return registry


def is_core(model: type) -> bool:
    """Whether a model is one of the core's."""
    return model.__module__.startswith("app.models")


def mapped_models() -> list[type]:
    """The models of the core and of all plugins that have been imported."""
    return [mapper.class_ for mapper in Inspection.registry.mappers]


def core_tables() -> set[str]:
    """The names of the core's tables."""
    return {str(sqlalchemy_inspect(model).local_table.name) for model in mapped_models() if is_core(model)}


def package_of(model: type) -> str:
    """The top-level package that a model is defined in."""
    return model.__module__.partition(".")[0]


def _module(entry_point: str) -> str:
    return entry_point.partition(":")[0]
