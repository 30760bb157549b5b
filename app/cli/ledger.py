"""`fieldpost ledger prune`: remove the oldest part of the ledger."""

from __future__ import annotations

import re
from datetime import timedelta

import click

from app.cli.data import with_data
from app.cli.failures import reported_failures
from app.clock import now, to_wire
from app.config import current_settings
from app.core.ledger.prune import prune

#: Days of the ledger that are kept by default. More are kept if retries need more.
DEFAULT_DAYS = 400

keep_option = click.option(
    "--keep",
    help=f"How much of the ledger stays, in days. [default: {DEFAULT_DAYS}d, or FIELDPOST_RETRY_DAYS if longer]",
)


def period(keep: str | None) -> timedelta:
    """`400d` → 400 days; None → the default. Raises `click.BadParameter` if retries are remembered for longer."""
    least = current_settings().retry_days
    if keep is None:
        return timedelta(days=max(DEFAULT_DAYS, least))
    if not re.fullmatch(r"[0-9]{1,5}d", keep, re.ASCII):
        raise click.BadParameter(f"{keep!r} is no number of days. Write it like {DEFAULT_DAYS}d.", param_hint="--keep")
    days = int(keep[:-1])
    if days < least:
        raise click.BadParameter(
            f"{keep} is less than the {least} days for which devices may send again (FIELDPOST_RETRY_DAYS): their "
            "changes would be applied twice. Keep more.",
            param_hint="--keep",
        )
    return timedelta(days=days)


@click.group("ledger")
def ledger_group() -> None:
    """Look after the ledger of all changes."""


@ledger_group.command("prune")
@keep_option
@with_data
def prune_command(keep: str | None) -> None:
    """Remove entries older than --keep from the beginning of the ledger."""
    with reported_failures():
        click.echo(prune_ledger(period(keep)))


def prune_ledger(keep: timedelta) -> str:
    """Prune the ledger; returns a sentence with the numbers of removed rows."""
    before = now() - keep
    pruned = prune(before)
    return f"removed {pruned.entries} changes and {pruned.operations} operations from before {to_wire(before)}"
