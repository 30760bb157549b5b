"""`flask config`: the effective settings."""

from __future__ import annotations

import dataclasses
import re

import click
from flask.cli import with_appcontext

from app.config import Settings, current_settings, environment_name
from app.core.host.registry import current_registry
from app.core.host.settings import setting_key
from app.plugin_api import plugin_settings

MASK = "********"

#: Words in the name of a plugin's setting whose value must not be shown.
SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSWORD")


@click.command("config")
@with_appcontext
def config_command() -> None:
    """Show every setting with its effective value. Secrets are masked."""
    settings = current_settings()
    for field in dataclasses.fields(Settings):
        if field.name == "unknown":
            continue
        value = getattr(settings, field.name)
        if field.metadata["secret"] and value:
            value = _masked(str(value))
        click.echo(f"{environment_name(field.name)}={value}")
    known = set()
    for plugin in current_registry().installed:
        for name, value in plugin_settings(plugin).items():
            key = setting_key(plugin, name)
            known.add(key)
            click.echo(f"{key}={MASK if value and SECRET.search(key) else value}")
    for name in sorted(settings.unknown.keys() - known):
        click.echo(f"# {name} is no setting of Fieldpost or an installed plugin")


def _masked(value: str) -> str:
    """A mask for the value. Of an address only the scheme is shown, because the rest may contain a password."""
    kind, separator, _ = value.partition("://")
    return f"{kind}://{MASK}" if separator else MASK
