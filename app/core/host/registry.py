"""Finds, checks and indexes what plugins bring. Loading happens in `create_app`, never at import.

A half-loaded server would refuse work that a device has kept for days: any finding stops the start. So the functions
here yield findings, one sentence or two each (where, what, what to do), and `refuse` tells all of them together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click
from flask import Flask, current_app
from flask_smorest import Blueprint as SmorestBlueprint
from sqlalchemy import String
from sqlalchemy import inspect as sqlalchemy_inspect
from werkzeug.routing import Rule

from app.core.database.engine import api, db
from app.core.host.checks import faults_of_handler, faults_of_model, faults_of_plugin, models_of
from app.errors import PluginError
from app.models import Inspection
from app.plugin_api import API_VERSION, OLDEST_API_VERSION, Plugin, SyncHandler

HANDLERS = "fieldpost.sync_handlers"
PLUGINS = "fieldpost.plugins"

#: Keys that `GET /sync/status` answers itself.
STATUS_KEYS = ("user_id", "pending_inspections", "completed_inspections", "last_sync", "server_time")

#: Commands of Flask's own; what a distribution registers under `flask.commands` stands before ours, too.
FLASK_COMMANDS = {"run", "shell", "routes"}

#: Where the application keeps its plugins' settings: plugin -> name -> value.
SETTINGS = "fieldpost.plugin_settings"

TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A handler with where it came from."""

    handler: SyncHandler
    #: `plugins.photos:handler`.
    entry_point: str
    distribution: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A plugin with where it came from."""

    plugin: Plugin
    entry_point: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return _where(PLUGINS, self.plugin.name, self)


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
    settings: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Type that a plugin once had -> what whoever still sends it is told.
    removed: dict[str, str] = field(default_factory=dict)
    #: Top-level package -> distribution.
    packages: dict[str, str] = field(default_factory=dict)

    @property
    def plugins(self) -> dict[str, Plugin]:
        """Plugin name -> plugin."""
        return {name: each.plugin for name, each in self.installed.items()}

    @property
    def types(self) -> list[str]:
        """All wire types and aliases, sorted."""
        return sorted(self.routes)

    def settings_of(self, handler: SyncHandler) -> Mapping[str, Any]:
        """The settings of the plugin that the handler belongs to."""
        return self.settings.get(handler.type, {})

    def origin_of(self, handler: SyncHandler) -> dict[str, str]:
        """Type, distribution and version of a handler, for the log."""
        registered = self.handlers[handler.type]
        return {"type": handler.type, "distribution": registered.distribution, "version": registered.version}

    def plugin_of(self, registered: Registered) -> Plugin | None:
        """The plugin that a handler belongs to: stated in the same module, or the only one of its distribution."""
        own = [each for each in self.installed.values() if each.distribution == registered.distribution]
        near = [each for each in own if _module(each.entry_point) == _module(registered.entry_point)]
        found = near or own
        return found[0].plugin if len(found) == 1 else None

    def owner_of(self, table: str) -> str | None:
        """The name of the plugin whose table this is: the longest that it begins with."""
        names = [name for name in self.installed if table == name or table.startswith(f"{name}_")]
        return max(names, key=len, default=None)

    def key_of(self, model: type, text: str) -> Any:
        """A row's id from its text in the ledger."""
        return text if isinstance(sqlalchemy_inspect(model).primary_key[0].type, String) else int(text)


def current_registry() -> Registry:
    """The registry of the current application."""
    found: Registry = current_app.extensions["fieldpost.registry"]
    return found


def refuse(findings: Iterable[str]) -> None:
    """Raise `PluginError` with all findings, if there are any."""
    found = list(findings)
    if found:
        count = "One thing about plugins is" if len(found) == 1 else f"{len(found)} things about plugins are"
        lines = "\n".join(f"  {index}. {each}" for index, each in enumerate(found, 1))
        raise PluginError(f"{count} wrong, and the server does not start half-loaded:\n{lines}")


def load(registry: Registry, found: Iterable[EntryPoint] | None = None) -> Iterator[str]:
    """Fill the registry with all installed plugins and handlers; yields what is wrong with them."""
    entries = [*entry_points(group=HANDLERS), *entry_points(group=PLUGINS)] if found is None else found
    # Two distributions may claim one name, and neither comes first in a useful order (trap 22). Plugins come before
    # the handlers that belong to them.
    for entry in sorted(entries, key=lambda each: (each.group, each.name, each.value)):
        yield from _load(registry, entry)
    yield from _add_models(registry)
    yield from _check_removed(registry)


def _load(registry: Registry, entry: EntryPoint) -> Iterator[str]:
    name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "0")
    origin = {"entry_point": entry.value, "distribution": name, "version": version}
    where = f"{entry.group} entry point {entry.name!r} = {entry.value!r} of {name} {version}"
    try:
        loaded = entry.load()
    except (Exception, SystemExit) as error:  # a plugin may raise anything while it is imported
        yield (
            f"{where}: importing it raised {type(error).__name__}: {error}. "
            f"Mend it, or uninstall it with `pip uninstall {name}`."
        )
        return
    registry.packages[entry.module.partition(".")[0]] = name
    try:
        findings = [f"{where}: {each}" for each in _add(registry, loaded, entry, origin)]
    except Exception as error:  # a field may be anything
        findings = [
            f"{where}: checking it raised {type(error).__name__}: {error}. Compare its fields with docs/plugins.md."
        ]
    yield from findings


def _add(registry: Registry, loaded: object, entry: EntryPoint, origin: Mapping[str, str]) -> list[str]:
    """Index what an entry point has brought; what is in the way, if anything is."""
    wanted = Plugin if entry.group == PLUGINS else SyncHandler
    if not isinstance(loaded, wanted):
        return [f"it is a {type(loaded).__name__}. Point it at a {wanted.__name__}(…)."]
    if isinstance(loaded, Plugin):
        findings = list(faults_of_plugin(loaded, entry.name)) or list(_plugin_clashes(registry, loaded))
        if not findings:
            registry.installed[loaded.name] = Installed(plugin=loaded, **origin)
        return findings
    clashes = _handler_clashes(registry, loaded, origin["distribution"])
    findings = [*faults_of_handler(loaded, entry.name), *clashes]
    if not findings:
        registry.handlers[loaded.type] = Registered(handler=loaded, **origin)
        registry.routes |= dict.fromkeys((loaded.type, *loaded.aliases), loaded)
    return findings


def _plugin_clashes(registry: Registry, plugin: Plugin) -> Iterator[str]:
    """What stands in the way of a plugin that is all right by itself."""
    other = registry.installed.get(plugin.name)
    if other is not None:
        yield (
            f"the plugin name {plugin.name!r} is already that of {other.entry_point!r} of {other.distribution} "
            f"{other.version}. Uninstall one of the two."
        )
    if plugin.api_version > API_VERSION:
        yield (
            f"it is written for plugin API {plugin.api_version}, and this Fieldpost knows {API_VERSION}. "
            "Upgrade Fieldpost, or install an older release of the plugin."
        )
    elif plugin.api_version < OLDEST_API_VERSION:
        yield (
            f"it is written for plugin API {plugin.api_version}, and this Fieldpost serves {OLDEST_API_VERSION} to "
            f"{API_VERSION}. Install a newer release of the plugin."
        )


def _handler_clashes(registry: Registry, handler: SyncHandler, distribution: str) -> Iterator[str]:
    """What stands in the way of a handler that is all right by itself."""
    for name in (handler.type, *(handler.aliases if isinstance(handler.aliases, tuple | list) else ())):
        other = registry.routes.get(name)
        if other is not None:
            owner = registry.handlers[other.type]
            yield (
                f"the type {name!r} is already that of {owner.entry_point!r} of {owner.distribution} "
                f"{owner.version}. Uninstall one of the two, or rename a type."
            )
    if OLDEST_API_VERSION > 1 and distribution not in {each.distribution for each in registry.installed.values()}:
        yield "its distribution states no Plugin, and so counts as written for plugin API 1. Install a newer release."


def _add_models(registry: Registry) -> Iterator[str]:
    """Index the entities: of the models that handlers name, and of all that the distributions define beside."""
    named = [model for each in registry.handlers.values() for model in models_of(each.handler)]
    mapped = [mapper.class_ for mapper in Inspection.registry.mappers if _package(mapper.class_) in registry.packages]
    core = {_entity_name(mapper.class_) for mapper in Inspection.registry.mappers if is_core(mapper.class_)}
    counted = dict.fromkeys(STATUS_KEYS, "the status itself")
    for model in sorted(dict.fromkeys([*named, *mapped]), key=lambda each: str(each.__module__) + each.__qualname__):
        entity: Any = getattr(model, "__entity__", None)
        where = f"model {model.__module__}.{model.__qualname__} of {registry.packages.get(_package(model), 'unknown')}"
        findings = [] if is_core(model) else [*faults_of_model(model), *_table_clashes(registry, model)]
        if entity is None:
            yield from (f"{where}: {each}" for each in findings)
            continue
        other = registry.models.get(entity.name)
        if (other is not None and other is not model) or (entity.name in core and not is_core(model)):
            findings.append(f"the entity name {entity.name!r} is taken. Choose another one.")
        if entity.counted is not None and counted.setdefault(entity.counted, where) is not where:
            findings.append(f"`counted` is {entity.counted!r}, which is taken in the status. Choose another one.")
        yield from (f"{where}: {each}" for each in findings)
        if not findings:
            registry.models[entity.name] = model


def _table_clashes(registry: Registry, model: Any) -> Iterator[str]:
    """Whether the model's table belongs to a plugin of its distribution that migrates it."""
    table = str(sqlalchemy_inspect(model).local_table.name)
    distribution = registry.packages.get(_package(model))
    owner = registry.installed.get(registry.owner_of(table) or "")
    if owner is None or owner.distribution != distribution:
        own = sorted(name for name, each in registry.installed.items() if each.distribution == distribution)
        names = ", ".join(own) or "none"
        yield (
            f"its table is {table!r}, which begins with no name of a plugin of its distribution (there is: {names}). "
            "State a Plugin, and begin the table's name with the plugin's and an underscore."
        )
    elif owner.plugin.migrations is None:
        yield f"nothing makes its table {table!r}. State `migrations=` in the Plugin {owner.plugin.name!r}."


def _check_removed(registry: Registry) -> Iterator[str]:
    for each in registry.installed.values():
        for name, hint in each.plugin.removed.items():
            if name in registry.routes:
                yield f"{each}: `removed` names the type {name!r}, which is installed. Take it out of `removed`."
            registry.removed[name] = hint


def mount_blueprints(app: Flask, registry: Registry, prefix: str) -> Iterator[str]:
    """Register every plugin's blueprint below `prefix`; yields what is in their way."""
    taken = {key: rule.endpoint for rule in app.url_map.iter_rules() for key in _addresses(rule)}
    for each in registry.installed.values():
        blueprint = each.plugin.blueprint
        if blueprint is None:
            continue
        if blueprint.name in app.blueprints:
            yield f"{each}: a blueprint named {blueprint.name!r} is there already. Rename the plugin's."
            continue
        try:
            # Through flask-smorest where it is one of its blueprints, so that the OpenAPI document has what it says.
            register = api.register_blueprint if isinstance(blueprint, SmorestBlueprint) else app.register_blueprint
            register(blueprint, url_prefix=prefix + (blueprint.url_prefix or ""))
        except Exception as error:  # its own code runs here: `record_once` and the like
            yield f"{each}: mounting its blueprint raised {type(error).__name__}: {error}. Mend the blueprint."
            continue
        own = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith(f"{blueprint.name}.")]
        for rule in own:
            others = {taken.setdefault(key, rule.endpoint): key for key in _addresses(rule)}
            for other, (method, _) in others.items():
                if other != rule.endpoint:
                    yield f"{each}: {method} {rule.rule} is already answered by {other!r}. Choose another address."


def _addresses(rule: Rule) -> Iterator[tuple[str, str]]:
    """What a rule answers: method and address, whatever its arguments are called."""
    for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
        yield method, re.sub(r"<[^>]*>", "<>", rule.rule)


def mount_commands(app: Flask, registry: Registry) -> Iterator[str]:
    """Add every plugin's command-line group to `flask`; yields what is in their way."""
    taken = {*app.cli.commands, *FLASK_COMMANDS, *(each.name for each in entry_points(group="flask.commands"))}
    for each in registry.installed.values():
        command: click.Command | None = each.plugin.cli
        if command is None:
            continue
        if command.name in taken:
            yield f"{each}: the command `flask {command.name}` is there already. Rename the plugin's."
        else:
            app.cli.add_command(command)
            taken.add(str(command.name))


def read_settings(
    app: Flask, registry: Registry, sent: Mapping[str, str], core: Iterable[str]
) -> tuple[list[str], list[str]]:
    """Read every plugin's settings from `FIELDPOST_<PLUGIN>_<NAME>` in `sent`, and give them to its handlers.

    `core`: the names of the core's own settings. Returns the findings, and the names in `sent` that are nobody's.
    """
    findings: list[str] = []
    owners = dict.fromkeys(core, "Fieldpost itself")
    values: dict[str, dict[str, Any]] = {}
    for each in registry.installed.values():
        own = values.setdefault(each.plugin.name, {})
        for name, default in each.plugin.settings.items():
            key = setting_key(each.plugin.name, name)
            other = owners.setdefault(key, str(each))
            if other != str(each):
                findings.append(f"{each}: its setting {key} belongs to {other}. Rename the setting.")
                continue
            try:
                own[name] = _parsed(default, sent[key]) if key in sent else default
            except ValueError as error:
                findings.append(f"{each}: {key}={sent[key]!r} is {error}. Correct it, or unset it.")
    for registered in registry.handlers.values():
        plugin = registry.plugin_of(registered)
        if plugin is not None:
            registry.settings[registered.handler.type] = values[plugin.name]
    app.extensions[SETTINGS] = values
    return findings, sorted(set(sent) - set(owners))


def setting_key(plugin: str, name: str) -> str:
    """The environment variable of a plugin's setting."""
    return f"FIELDPOST_{plugin}_{name}".upper()


def _parsed(default: object, text: str) -> Any:
    """`text` as the type of the default; `ValueError` says what it is not."""
    if isinstance(default, bool):
        if text.lower() not in TRUTHS:
            raise ValueError("neither true nor false")
        return TRUTHS[text.lower()]
    if isinstance(default, int | float):
        kind, sort = (int, "whole number") if isinstance(default, int) else (float, "number")
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"no {sort}") from None
    return text


def is_core(model: type) -> bool:
    """Whether a model is one of the core's."""
    return model.__module__.startswith("app.models")


def core_tables() -> set[str]:
    """The names of the core's tables."""
    return {str(each.local_table.name) for each in Inspection.registry.mappers if is_core(each.class_)}


def tables_of(registry: Registry, plugin: str) -> list[str]:
    """The names of a plugin's tables, parents first."""
    core = core_tables()
    names = [table.name for table in db.metadata.sorted_tables]
    return [name for name in names if name not in core and registry.owner_of(name) == plugin]


def _entity_name(model: Any) -> str | None:
    entity = getattr(model, "__entity__", None)
    return None if entity is None else str(entity.name)


def _module(entry_point: str) -> str:
    return entry_point.partition(":")[0]


def _package(model: type) -> str:
    return model.__module__.partition(".")[0]


def _where(group: str, name: str, origin: Any) -> str:
    return f"{group} entry point {name!r} = {origin.entry_point!r} of {origin.distribution} {origin.version}"
