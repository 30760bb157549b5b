"""Finds, checks and indexes the handlers, plugins and models of all installed distributions.

Loading happens in `create_app`, never at import. A half-loaded server would refuse work that a device has kept for
days: any finding stops the start (`app.core.host.findings.refuse`).
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint
from typing import Any

from app.core.host.checks.handlers import field_findings, handler_clashes, handler_findings
from app.core.host.checks.models import STATUS_KEYS, entity_clashes, model_findings, table_clashes
from app.core.host.checks.plugins import plugin_clashes, plugin_findings, removed_findings
from app.core.host.findings import Finding, Kind
from app.core.host.handlers import models_of
from app.core.host.registry import (
    HANDLERS,
    PLUGINS,
    Installed,
    Registered,
    Registry,
    entry_points_of,
    is_core,
    mapped_models,
)
from app.core.host.watch import is_interrupt
from app.plugin_api import Entity, Plugin, SyncHandler

NOT_IMPORTED = Kind("importing it raised {error}: {reason}", "Mend it, or uninstall it with `pip uninstall {name}`.")
NOT_CHECKED = Kind("checking it raised {error}: {reason}", "Compare its fields with docs/plugins.md.")
OTHER_CLASS = Kind("it is a {type}", "Point it at a {wanted}(…).")

#: The distribution of Fieldpost itself.
SHIPPED = "fieldpost"


def load_plugins(registry: Registry, entries: Iterable[EntryPoint] | None = None) -> list[Finding]:
    """Fill the registry with the handlers and plugins of the entry points (default: of all distributions).

    Returns everything that is wrong with them. A handler, plugin or model that has a finding is not in the registry.
    """
    if entries is None:
        entries = [entry for group in (HANDLERS, PLUGINS) for entry in entry_points_of(group)]
    findings: list[Finding] = []
    # Two distributions may claim one name (trap 22). What ships is there already then, and the other one is told about.
    # Plugins come before the handlers that belong to them.
    for entry in sorted(entries, key=lambda entry: (entry.group, not _ships(entry), entry.name, entry.value)):
        findings += _load_entry(registry, entry)
    findings += _add_models(registry)
    for registered in registry.handlers.values():
        where = f"{HANDLERS} entry point {registered.handler.type!r} = {registered}"
        findings += field_findings(where, registered.handler)
    findings += removed_findings(registry)
    for installed in registry.installed.values():
        registry.removed |= installed.plugin.removed
    return findings


def _ships(entry: EntryPoint) -> bool:
    return entry.dist is not None and entry.dist.name == SHIPPED


def _load_entry(registry: Registry, entry: EntryPoint) -> list[Finding]:
    name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "0")
    where = f"{entry.group} entry point {entry.name!r} = {entry.value!r} of {name} {version}"
    try:
        loaded = entry.load()
    except BaseException as error:  # a plugin may raise anything while it is imported
        if is_interrupt(error):
            raise
        return [NOT_IMPORTED.at(where, error=type(error).__name__, reason=error, name=name)]
    registry.packages[entry.module.partition(".")[0]] = name
    origin = {"entry_point": entry.value, "distribution": name, "version": version}
    try:
        if entry.group == PLUGINS:
            return _add_plugin(registry, loaded, entry.name, where, origin)
        return _add_handler(registry, loaded, entry.name, where, origin)
    except Exception as error:  # a field may be anything
        return [NOT_CHECKED.at(where, error=type(error).__name__, reason=error)]


def _add_plugin(registry: Registry, plugin: object, name: str, where: str, origin: dict[str, str]) -> list[Finding]:
    if not isinstance(plugin, Plugin):
        return [OTHER_CLASS.at(where, type=type(plugin).__name__, wanted="Plugin")]
    findings = list(plugin_findings(where, plugin, name)) or list(plugin_clashes(where, registry, plugin))
    if not findings:
        registry.installed[plugin.name] = Installed(plugin=plugin, **origin)
    return findings


def _add_handler(registry: Registry, handler: object, name: str, where: str, origin: dict[str, str]) -> list[Finding]:
    if not isinstance(handler, SyncHandler):
        return [OTHER_CLASS.at(where, type=type(handler).__name__, wanted="SyncHandler")]
    clashes = list(handler_clashes(where, registry, handler, origin["distribution"]))
    findings = [*handler_findings(where, handler, name), *clashes]
    if not findings:
        registry.handlers[handler.type] = Registered(handler=handler, **origin)
        registry.routes |= dict.fromkeys((handler.type, *handler.aliases), handler)
    return findings


def _add_models(registry: Registry) -> list[Finding]:
    """Index the entities: of the models that handlers name, and of all others that their distributions define."""
    named = [model for registered in registry.handlers.values() for model in models_of(registered.handler)]
    defined = [model for model in mapped_models() if registry.distribution_of(model) is not None]
    counted: dict[str, type | None] = dict.fromkeys(STATUS_KEYS)
    findings: list[Finding] = []
    for model in sorted({*named, *defined}, key=lambda model: f"{model.__module__}{model.__qualname__}"):
        findings += _add_model(registry, model, counted)
    return findings


def _add_model(registry: Registry, model: type, counted: dict[str, type | None]) -> list[Finding]:
    where = f"model {model.__module__}.{model.__qualname__} of {registry.distribution_of(model) or 'unknown'}"
    findings: list[Finding] = []
    if not is_core(model):
        findings += [*model_findings(where, model), *table_clashes(where, registry, model)]
    entity: Any = getattr(model, "__entity__", None)
    if not isinstance(entity, Entity):
        return findings
    findings += entity_clashes(where, registry, model, entity, counted)
    if not findings:
        registry.models[entity.name] = model
    return findings
