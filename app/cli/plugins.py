"""`flask plugins`: the operation types that are installed."""

from __future__ import annotations

from typing import Any

import click
from flask.cli import with_appcontext

from app.registry import current_registry


@click.command("plugins")
@with_appcontext
def plugins_command() -> None:
    """List operation types with their distribution, version and policy."""
    registry = current_registry()
    rows = [("TYPE", "ALIASES", "DISTRIBUTION", "VERSION", "POLICY")]
    for name, each in sorted(registry.handlers.items()):
        aliases = ",".join(each.handler.aliases) or "-"
        rows.append((name, aliases, each.distribution, each.version, _path(each.handler.policy)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _path(function: Any) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"
