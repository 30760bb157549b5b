"""`fieldpost maintenance`: all upkeep in one command, for cron. Without it nothing is removed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from datetime import timedelta

import click

from app.accounts.tokens import remove_ended_sign_ins
from app.administration.notices import remove_settled
from app.administration.retention import remove_expired
from app.attachments import upkeep
from app.cli.data import with_data
from app.cli.ledger import keep_option, period, prune_ledger
from app.clock import now
from app.config import current_settings
from app.core.database.engine import db
from app.core.done import note_done
from app.core.host.registry import current_registry
from app.core.ledger.audit import remove_before
from app.core.ledger.set_aside import keep_up
from app.core.sync.hours import remove_old_hours

logger = logging.getLogger(__name__)


@click.command("maintenance")
@keep_option
@with_data
def maintenance_command(keep: str | None) -> None:
    """Remove ended sign-ins, old parts of ledger and audit log, items, counts and notices, and what nobody needs.

    With FIELDPOST_FINISHED_INSPECTION_DAYS it removes finished inspections, too: `fieldpost retention` tells which.
    If one part fails, the others still run, and the exit code is 1.
    """
    kept = period(keep)
    parts: dict[str, Callable[[], str]] = {
        # First, so that the bytes of photos go as soon as they may.
        "finished inspections": lambda: f"removed {_remove_finished()}",
        "sign-ins": lambda: f"removed {remove_ended_sign_ins()}",
        "ledger": lambda: prune_ledger(kept),
        "set aside": lambda: f"removed {_keep_up_set_aside()}",
        "counts of hours": lambda: f"removed {remove_old_hours()}",
        "audit log": lambda: f"removed {remove_before(now() - timedelta(days=current_settings().audit_days))}",
        "notices": lambda: f"removed {remove_settled()}",
        "storage": lambda: f"removed {len(upkeep.collect())} objects",
    }
    for plugin in current_registry().plugins.values():
        if plugin.collect is not None:
            collect = plugin.collect
            parts[f"plugin {plugin.name}"] = lambda collect=collect: f"removed {collect()}"  # type: ignore[misc]
    outcomes = [_run(name, part) for name, part in parts.items()]
    if not all(outcomes):
        sys.exit(1)
    note_done(current_settings().data_dir, "maintenance")


def _remove_finished() -> int:
    days = current_settings().finished_inspection_days
    return remove_expired(now() - timedelta(days=days)) if days else 0


def _keep_up_set_aside() -> int:
    settings = current_settings()
    kept, values_kept = settings.set_aside_days, settings.settled_item_days
    return keep_up(kept=timedelta(days=kept), values_kept=timedelta(days=values_kept))


def _run(name: str, part: Callable[[], str]) -> bool:
    try:
        click.echo(f"{name}: {part()}")
    except (Exception, SystemExit) as error:
        # A part may be a plugin's and raise anything; the other parts are still worth doing.
        logger.exception("maintenance failed", extra={"part": name})
        click.echo(f"{name}: failed, and is to be run again: {type(error).__name__}: {error}", err=True)
        return False
    finally:
        db.session.remove()
    return True
