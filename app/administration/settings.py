"""The effective settings and the installed plugins, with secrets masked (contract, section 9)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import NamedTuple

from app.config import Settings, current_settings, environment_name
from app.core.host.registry import current_registry
from app.core.host.settings import setting_key
from app.plugin_api import SyncHandler, plugin_settings

MASK = "********"

#: Words in the name of a plugin's setting whose value must not be shown.
SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSWORD")


class ShownSetting(NamedTuple):
    """A setting with its effective value, or a mask in place of a secret."""

    #: Its environment variable.
    name: str
    value: object
    #: None: one of the core's.
    plugin: str | None = None


class ShownType(NamedTuple):
    """An operation type, and the distribution that brings it."""

    handler: SyncHandler
    distribution: str
    version: str


class ShownPlugin(NamedTuple):
    """An installed plugin, and the distribution that brings it."""

    name: str
    distribution: str
    version: str


def effective_settings() -> Iterator[ShownSetting]:
    """Every setting of the core and of the installed plugins. Secrets are masked."""
    settings = current_settings()
    for field in dataclasses.fields(Settings):
        if field.name == "unknown":
            continue
        value = getattr(settings, field.name)
        if field.metadata["secret"] and value:
            value = _masked(str(value))
        yield ShownSetting(environment_name(field.name), value)
    for plugin in current_registry().installed:
        for name, value in plugin_settings(plugin).items():
            key = setting_key(plugin, name)
            yield ShownSetting(key, MASK if value and SECRET.search(key) else value, plugin)


def unknown_settings() -> list[str]:
    """The names of set variables that look like settings, and are none."""
    known = {setting.name for setting in effective_settings()}
    return sorted(current_settings().unknown.keys() - known)


def installed_types() -> list[ShownType]:
    """The operation types of this server, by name."""
    handlers = sorted(current_registry().handlers.items())
    return [ShownType(type_.handler, type_.distribution, type_.version) for _, type_ in handlers]


def installed_plugins() -> list[ShownPlugin]:
    """The plugins of this server, by name."""
    plugins = sorted(current_registry().installed.items())
    return [ShownPlugin(name, plugin.distribution, plugin.version) for name, plugin in plugins]


def _masked(value: str) -> str:
    """A mask for the value. Of an address only the scheme is shown, because the rest may contain a password."""
    kind, separator, _ = value.partition("://")
    return f"{kind}://{MASK}" if separator else MASK
