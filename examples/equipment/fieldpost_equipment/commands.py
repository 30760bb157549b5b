"""`flask equipment count`, and what `storage gc` collects."""

import click
from flask.cli import with_appcontext
from sqlalchemy import func, select

from app.models import db
from fieldpost_equipment.models import Item


@click.group("equipment")
def commands() -> None:
    """Look at the equipment."""


@commands.command("count")
@with_appcontext
def count() -> None:
    """How many pieces there are."""
    click.echo(f"{db.session.scalar(select(func.count()).select_from(Item))} pieces")


def collect() -> int:
    """There is nothing to collect, which is a number too."""
    return 0
