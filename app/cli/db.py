"""`fieldpost db upgrade`: the migrations of core and plugins. The rest of `db` is Flask-Migrate's."""

from __future__ import annotations

from typing import Any

import click
from flask.cli import with_appcontext
from flask_migrate.cli import db as db_group

from app.cli.failures import reported_failures
from app.config import current_settings, make_data_dir
from app.core.database import MigrationError
from app.core.database.engine import db
from app.core.host.drift import find_drift
from app.core.host.migrations import upgrade

#: Flask-Migrate's command, which knows only the core's migrations.
CORE_UPGRADE: click.Command = db_group.commands["upgrade"]


@click.command("upgrade", params=CORE_UPGRADE.params)
@click.pass_context
@with_appcontext
@reported_failures()
def upgrade_command(context: click.Context, /, **options: Any) -> None:
    """Run all missing migrations, plugins' included; with REVISION or --sql only the core's."""
    # The commands that begin a server may make its directory, and no others.
    make_data_dir(current_settings().data_dir)
    if options["revision"] != "head" or options["sql"]:
        context.invoke(CORE_UPGRADE, **options)
        return
    try:
        chains = upgrade()
    except MigrationError as error:
        raise click.ClickException(f"Nothing was migrated. {error}") from None
    for chain in chains:
        click.echo(f"{chain.name}: at migration {', '.join(sorted(chain.needed())) or 'none'}")
    with db.engine.connect() as connection:
        for drift in find_drift(connection):
            click.echo(drift, err=True)


def extend_db_group() -> None:
    """Replace `upgrade` in Flask-Migrate's group: its group would take precedence over one of ours."""
    db_group.add_command(upgrade_command)
