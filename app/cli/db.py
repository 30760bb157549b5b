"""`flask db upgrade`: all migrations, the core's and every installed plugin's. The rest of `db` is Flask-Migrate's."""

from __future__ import annotations

from typing import Any

import click
from flask.cli import with_appcontext
from flask_migrate.cli import db as db_group

from app.cli.failures import told
from app.core.database import MigrationError
from app.core.host.migrations import upgrade

#: Flask-Migrate's own, which knows the core's migrations alone.
CORE_UPGRADE: click.Command = db_group.commands["upgrade"]


@click.command("upgrade", params=CORE_UPGRADE.params)
@click.pass_context
@with_appcontext
@told()
def upgrade_command(context: click.Context, /, **options: Any) -> None:
    """Run all migrations that are missing, plugins' included; with REVISION or --sql the core's alone."""
    if options["revision"] != "head" or options["sql"]:
        context.invoke(CORE_UPGRADE, **options)
        return
    try:
        chains = upgrade()
    except MigrationError as error:
        raise click.ClickException(f"Nothing was migrated. {error}") from None
    for chain in chains:
        click.echo(f"{chain.name}: at migration {', '.join(sorted(chain.needed())) or 'none'}")


def extend_db_group() -> None:
    """Put `upgrade` into Flask-Migrate's group: what a distribution brings to `flask` stands before ours."""
    db_group.add_command(upgrade_command)
