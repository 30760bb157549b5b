"""Checks of a plugin by itself, and beside the others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import click
from flask import Blueprint

from app.core.host.checks.values import are_texts, function_findings, is_name
from app.core.host.findings import Finding, Kind
from app.core.host.registry import Registry
from app.plugin_api import API_VERSION, OLDEST_API_VERSION, Pages, Plugin

#: The form of a plugin's name: its version table must keep within PostgreSQL's 63 characters.
PLUGIN_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

#: The types of settings' defaults; the default's type says how the environment variable is read.
SETTING_TYPES = (str, bool, int, float)

NO_NAME = Kind(
    "its name is {name!r}",
    "Use lower-case letters, digits and underscores, 40 at most, the same as the entry point's name.",
)
NO_NUMBER = Kind("its api_version is {version!r}", "State the number that it is written for.")
NO_PART = Kind("its {part} is a {type}", "State a {wanted}, or nothing.")
NO_HINTS = Kind(
    "its `removed` does not map types to hints", "Map each type to a sentence for devices that still send it."
)
NO_ABILITIES = Kind("its `abilities` are no sequence of names", "Use lower-case names, such as `resumable_uploads`.")
NO_SETTING = Kind(
    "its setting {name!r} = {default!r} cannot be read from the environment",
    "Use a lower-case name, and a text, a number, True or False as the default.",
)
PAGES_IN_API = Kind("its pages would stand below /api", "Give the plugin another name.")
TAKEN_NAME = Kind("the plugin name {name!r} is already that of {owner}", "Uninstall one of the two.")
TOO_NEW = Kind(
    "it is written for plugin API {version}, and this Fieldpost knows {newest}",
    "Upgrade Fieldpost, or install an older release of the plugin.",
)
TOO_OLD = Kind(
    "it is written for plugin API {version}, and this Fieldpost serves {oldest} to {newest}",
    "Install a newer release of the plugin.",
)
NOT_REMOVED = Kind("`removed` names the type {name!r}, which is installed", "Take it out of `removed`.")


def plugin_findings(where: str, plugin: Plugin, name: str) -> Iterator[Finding]:
    """Everything that is wrong with the plugin under the entry point `name`."""
    if not isinstance(plugin.name, str) or not PLUGIN_NAME.fullmatch(plugin.name) or plugin.name != name:
        yield NO_NAME.at(where, name=plugin.name)
    version: Any = plugin.api_version
    if not isinstance(version, int):
        yield NO_NUMBER.at(where, version=version)
    yield from _part_findings(where, plugin)
    if plugin.pages is not None and name == "api":
        yield PAGES_IN_API.at(where)
    if not are_texts(list(plugin.removed.values())):
        yield NO_HINTS.at(where)
    if not are_texts(plugin.abilities) or not all(map(is_name, plugin.abilities)):
        yield NO_ABILITIES.at(where)
    for key, default in plugin.settings.items():
        if not is_name(key) or not isinstance(default, SETTING_TYPES):
            yield NO_SETTING.at(where, name=key, default=default)


def _part_findings(where: str, plugin: Plugin) -> Iterator[Finding]:
    parts: tuple[tuple[str, Any, type], ...] = (
        ("blueprint", plugin.blueprint, Blueprint),
        ("pages", plugin.pages, Pages),
        ("pages.blueprint", plugin.pages and plugin.pages.blueprint, Blueprint),
        ("cli", plugin.cli, click.Group),
        ("migrations", plugin.migrations, str),
    )
    for part, value, wanted in parts:
        if value is not None and not isinstance(value, wanted):
            yield NO_PART.at(where, part=part, type=type(value).__name__, wanted=wanted.__name__)
    if plugin.collect is not None:
        yield from function_findings(where, "collect", plugin.collect, 0)
    if plugin.keeps is not None:
        yield from function_findings(where, "keeps", plugin.keeps, 1)
    if plugin.erase is not None:
        yield from function_findings(where, "erase", plugin.erase, 1)


def plugin_clashes(where: str, registry: Registry, plugin: Plugin) -> Iterator[Finding]:
    """Everything that keeps a plugin from standing beside those in the registry, and in this release."""
    other = registry.installed.get(plugin.name)
    if other is not None:
        owner = f"{other.entry_point!r} of {other.distribution} {other.version}"
        yield TAKEN_NAME.at(where, name=plugin.name, owner=owner)
    if plugin.api_version > API_VERSION:
        yield TOO_NEW.at(where, version=plugin.api_version, newest=API_VERSION)
    elif plugin.api_version < OLDEST_API_VERSION:
        yield TOO_OLD.at(where, version=plugin.api_version, oldest=OLDEST_API_VERSION, newest=API_VERSION)


def removed_findings(registry: Registry) -> Iterator[Finding]:
    """Types that a plugin has removed, and that are installed all the same."""
    for installed in registry.installed.values():
        for name in installed.plugin.removed:
            if name in registry.routes:
                yield NOT_REMOVED.at(str(installed), name=name)
