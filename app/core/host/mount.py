"""Mounts plugins' blueprints and commands, and reports clashes with those that are there already."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
from flask import Blueprint, Flask
from werkzeug.routing import Rule

from app.core.host.findings import Finding, Kind
from app.core.host.reach import Reach
from app.core.host.registry import Registry, entry_points_of
from app.plugin_api import Pages

#: Flask's own commands. Those that distributions register under `flask.commands` come before ours, too.
FLASK_COMMANDS = {"run", "shell", "routes"}

#: Method and address -> the endpoint that answers them.
Taken = dict[tuple[str, str], str]

TAKEN_BLUEPRINT = Kind("a blueprint named {name!r} is there already", "Rename the plugin's.")
BROKEN_BLUEPRINT = Kind("mounting its blueprint raised {error}: {reason}", "Mend the blueprint.")
TAKEN_ADDRESS = Kind("{method} {address} is already answered by {other!r}", "Choose another address.")
NO_PAGE = Kind("its menu entry {label!r} leads to {endpoint!r}, which no view has", "Name a view as `url_for` does.")
NO_PLACE = Kind("its place {subject!r} leads to {endpoint!r}, which no view has", "Name a view as `url_for` does.")
TAKEN_COMMAND = Kind("the command `fieldpost {name}` is there already", "Rename the plugin's.")


def mount_blueprints(app: Flask, registry: Registry, prefix: str) -> list[Finding]:
    """Register every plugin's blueprint below `prefix`, and its pages below its name, except those with a finding.

    Returns the findings.
    """
    taken: Taken = {address: rule.endpoint for rule in app.url_map.iter_rules() for address in _addresses(rule)}
    findings: list[Finding] = []
    for installed in registry.installed.values():
        plugin = installed.plugin
        if plugin.blueprint is not None:
            reach = Reach(app, prefix)
            findings += _mount_blueprint(app, plugin.blueprint, prefix, str(installed), taken)
            registry.reach[plugin.name] = list(reach.told())
        if plugin.pages is not None:
            reach = Reach(app, f"/{plugin.name}")
            findings += _mount_pages(app, registry, plugin.pages, f"/{plugin.name}", str(installed), taken)
            registry.reach[plugin.name] = [*registry.reach.get(plugin.name, []), *reach.told()]
    return findings


def _mount_pages(
    app: Flask, registry: Registry, pages: Pages, prefix: str, where: str, taken: Taken
) -> Iterator[Finding]:
    yield from _mount_blueprint(app, pages.blueprint, prefix, where, taken)
    registry.pages.add(pages.blueprint.name)
    for entry in pages.menu:
        if entry.endpoint not in app.view_functions:
            yield NO_PAGE.at(where, label=entry.label, endpoint=entry.endpoint)
    for subject, endpoint in pages.places.items():
        if endpoint not in app.view_functions:
            yield NO_PLACE.at(where, subject=subject, endpoint=endpoint)


def _mount_blueprint(app: Flask, blueprint: Blueprint, prefix: str, where: str, taken: Taken) -> list[Finding]:
    if blueprint.name in app.blueprints:
        return [TAKEN_BLUEPRINT.at(where, name=blueprint.name)]
    try:
        app.register_blueprint(blueprint, url_prefix=prefix + (blueprint.url_prefix or ""))
    except Exception as error:  # its own code runs here: `record_once` and the like
        return [BROKEN_BLUEPRINT.at(where, error=type(error).__name__, reason=error)]
    own = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith(f"{blueprint.name}.")]
    return [finding for rule in own for finding in _address_clashes(where, rule, taken)]


def _address_clashes(where: str, rule: Rule, taken: Taken) -> Iterator[Finding]:
    """Whether others answer what the rule answers; its addresses are added to `taken`."""
    others = {taken.setdefault(address, rule.endpoint): address for address in _addresses(rule)}
    for other, (method, _) in others.items():
        if other != rule.endpoint:
            yield TAKEN_ADDRESS.at(where, method=method, address=rule.rule, other=other)


def _addresses(rule: Rule) -> Iterator[tuple[str, str]]:
    """Methods and addresses that a rule answers; the names of its arguments do not count."""
    for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
        yield method, re.sub(r"<[^>]*>", "<>", rule.rule)


def mount_commands(app: Flask, registry: Registry) -> list[Finding]:
    """Add every plugin's command-line group to `flask`, except those that have a finding. Returns the findings."""
    taken = {*app.cli.commands, *FLASK_COMMANDS, *entry_points_of("flask.commands").names}
    findings: list[Finding] = []
    for installed in registry.installed.values():
        command: click.Command | None = installed.plugin.cli
        if command is None:
            continue
        if command.name in taken:
            findings.append(TAKEN_COMMAND.at(str(installed), name=command.name))
        else:
            app.cli.add_command(command)
            taken.add(str(command.name))
    return findings
