"""`flask config`: the effective settings."""

from __future__ import annotations

import dataclasses

import click
from flask.cli import with_appcontext

from app.config import Settings, current_settings, environment_name

MASK = "********"


@click.command("config")
@with_appcontext
def config_command() -> None:
    """Show every setting with its effective value, secrets masked."""
    settings = current_settings()
    for each in dataclasses.fields(Settings):
        if each.name == "unknown":
            continue
        value = getattr(settings, each.name)
        if each.metadata["secret"] and value:
            value = _masked(str(value))
        click.echo(f"{environment_name(each.name)}={value}")
    for name in settings.unknown:
        click.echo(f"# {name} is none of the core's settings")


def _masked(value: str) -> str:
    """Of an address, only its kind is told: it may hold a password."""
    kind, separator, _ = value.partition("://")
    return f"{kind}://{MASK}" if separator else MASK
