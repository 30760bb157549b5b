"""The effective settings and the installed plugins, with secrets masked (contract, section 9)."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import unquote

from app.config import Settings, current_settings, environment_name
from app.core.host.registry import current_registry
from app.core.host.settings import setting_key
from app.plugin_api import SyncHandler, plugin_settings

MASK = "********"

#: Words in the name of a plugin's setting whose value must not be shown.
SECRET = re.compile(r"KEY|SECRET|TOKEN|PASS")

#: User and password in an address, and a password alone.
CREDENTIALS = re.compile(r"(?<=//)[^\s?]*@")
PASSWORD = re.compile(r"//[^:/@]*:(\S+)@|[?&]password=([^&\s]+)|[^/]:([^/@\s]+)@")

#: Shorter texts are parts of too many words to be found as secrets.
LEAST_SECRET = 6


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
        yield ShownSetting(environment_name(field.name), _without_credentials(value))
    for plugin in current_registry().installed:
        for name, value in plugin_settings(plugin).items():
            key = setting_key(plugin, name)
            shown = MASK if value and SECRET.search(key) else _without_credentials(value)
            yield ShownSetting(key, shown, plugin)


def unknown_settings() -> list[str]:
    """The names of set variables that look like settings, and are none."""
    known = {setting.name for setting in effective_settings()}
    return sorted(current_settings().unknown.keys() - known)


def secrets_masker() -> Callable[[str], str]:
    """A function that puts masks in place of all secrets of this server, in the text of a library or a plugin."""
    # The longest first, because one may be a part of another.
    secrets = sorted(_secrets(), key=len, reverse=True)

    def masked(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, MASK)
        return CREDENTIALS.sub(f"{MASK}@", text)

    return masked


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
    kind, separator, rest = value.partition("://")
    if separator and not rest:
        return value
    return f"{kind}://{MASK}" if separator else MASK


def _without_credentials(value: object) -> object:
    """The value; if it is an address with user and password, with a mask in their place."""
    return CREDENTIALS.sub(f"{MASK}@", value) if isinstance(value, str) else value


def _secrets() -> set[str]:
    """The values of all secret settings and of the environment's, and the passwords in them."""
    settings = current_settings()
    fields = [field.name for field in dataclasses.fields(Settings) if field.metadata.get("secret")]
    values = [str(getattr(settings, name)) for name in fields]
    # Also where a server does not start, and its settings are not those of the environment.
    secret = {environment_name(name) for name in fields}
    values += [
        value for name, value in {**os.environ, **settings.unknown}.items() if name in secret or SECRET.search(name)
    ]
    passwords = [password for value in values for found in PASSWORD.findall(value) for password in found]
    secrets = {*values, *passwords, *map(unquote, passwords)}
    return {secret for secret in secrets if len(secret) >= LEAST_SECRET and _masked(secret) != secret}
