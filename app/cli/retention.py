"""`fieldpost retention`: the finished inspections that `maintenance` would remove."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import click

from app.administration.retention import find_expired
from app.cli.data import with_data
from app.cli.failures import reported_failures
from app.clock import now, to_wire
from app.config import current_settings

MIB = 1024 * 1024


@click.command("retention")
@click.option(
    "--days", type=click.IntRange(1, 36500), help="Another age. [default: FIELDPOST_FINISHED_INSPECTION_DAYS]"
)
@with_data
@reported_failures()
def retention_command(days: int | None) -> None:
    """Tell which finished inspections `maintenance` would remove because of their age. Removes nothing."""
    days = days or current_settings().finished_inspection_days
    if not days:
        raise click.ClickException(
            "Finished inspections are kept for ever: FIELDPOST_FINISHED_INSPECTION_DAYS is not set. "
            "Name an age, such as --days 730, to see what would go."
        )
    before, count, rows, size = now() - timedelta(days=days), 0, Counter[str](), 0
    for inspection in find_expired(before):
        click.echo(
            f"inspection {inspection.id}: {inspection.title}, {inspection.status}, "
            f"last changed {to_wire(inspection.updated_at)}"
        )
        count, size = count + 1, size + inspection.byte_size
        rows.update(inspection.rows)
    below = ", ".join(f"{number} of {label}" for label, number in rows.items())
    click.echo(f"{count} inspections from before {to_wire(before)}, with {below or 'no rows'}, {size / MIB:.1f} MiB")
