"""`fieldpost config`: the effective settings."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from app.administration.settings import effective_settings, unknown_settings


@click.command("config")
@with_appcontext
def config_command() -> None:
    """Show every setting with its effective value. Secrets are masked."""
    for setting in effective_settings():
        click.echo(f"{setting.name}={setting.value}")
    for name in unknown_settings():
        click.echo(f"# {name} is no setting of Fieldpost or an installed plugin")
