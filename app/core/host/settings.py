"""Plugins' settings: read from the environment as `FIELDPOST_<PLUGIN>_<NAME>`, parsed to their defaults' types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from flask import Flask

from app.core.host.findings import Finding, Kind
from app.core.host.registry import Installed, Registry

#: Where the application keeps its plugins' settings: plugin -> name -> value.
SETTINGS = "fieldpost.plugin_settings"

#: A plugin's setting, of the type of its default.
Setting: TypeAlias = bool | int | float | str

TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}

TAKEN_KEY = Kind("its setting {key} belongs to {owner}", "Rename the setting.")
NO_VALUE = Kind("{key}={text!r} is {reason}", "Correct it, or unset it.")


def read_settings(
    app: Flask, registry: Registry, sent: Mapping[str, str], core: Iterable[str]
) -> tuple[list[Finding], list[str]]:
    """Read every plugin's settings from `sent`, and give them to its handlers.

    `core`: the names of the core's own settings. Returns the findings, and the names in `sent` that are nobody's.
    """
    owners = dict.fromkeys(core, "Fieldpost itself")
    values: dict[str, dict[str, Setting]] = {}
    findings: list[Finding] = []
    for name, installed in registry.installed.items():
        values[name], own_findings = _values_of(installed, sent, owners)
        findings += own_findings
    for registered in registry.handlers.values():
        plugin = registry.plugin_of(registered)
        if plugin is not None:
            registry.settings[registered.handler.type] = values[plugin.name]
    app.extensions[SETTINGS] = values
    return findings, sorted(set(sent) - set(owners))


def _values_of(
    installed: Installed, sent: Mapping[str, str], owners: dict[str, str]
) -> tuple[dict[str, Setting], list[Finding]]:
    """The values of a plugin's settings, and everything wrong with them; it is added to `owners`."""
    where, values, findings = str(installed), {}, []
    for name, default in installed.plugin.settings.items():
        key = setting_key(installed.plugin.name, name)
        owner = owners.setdefault(key, where)
        if owner != where:
            findings.append(TAKEN_KEY.at(where, key=key, owner=owner))
            continue
        try:
            values[name] = _parsed(default, sent[key]) if key in sent else default
        except ValueError as error:
            findings.append(NO_VALUE.at(where, key=key, text=sent[key], reason=error))
    return values, findings


def setting_key(plugin: str, name: str) -> str:
    """The environment variable of a plugin's setting."""
    return f"FIELDPOST_{plugin}_{name}".upper()


def _parsed(default: Setting, text: str) -> Setting:
    """`text` as the type of the default. Raises `ValueError`, whose text ends the sentence "The value is …"."""
    if isinstance(default, bool):
        if text.lower() not in TRUTHS:
            raise ValueError("neither true nor false")
        return TRUTHS[text.lower()]
    if isinstance(default, int | float):
        kind, noun = (int, "whole number") if isinstance(default, int) else (float, "number")
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"no {noun}") from None
    return text
