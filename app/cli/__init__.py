"""The command line: `fieldpost …`, and in a checkout `flask --app wsgi …` (contract, section 9)."""

from __future__ import annotations

from flask import Flask

from app.cli.audit import audit_command
from app.cli.backup.commands import backup_group, new_history_command, restore_command
from app.cli.check import check_command
from app.cli.config import config_command
from app.cli.db import extend_db_group
from app.cli.demo import demo_command
from app.cli.ledger import ledger_group
from app.cli.maintenance import maintenance_command
from app.cli.notify import notify_command
from app.cli.plugins import plugins_group
from app.cli.privacy import privacy_group
from app.cli.retention import retention_command
from app.cli.storage import storage_group
from app.cli.support_bundle import support_bundle_command
from app.cli.users import users_group


def register_commands(app: Flask) -> None:
    """Add our commands to `flask`."""
    extend_db_group()
    for command in (
        users_group,
        audit_command,
        privacy_group,
        config_command,
        check_command,
        support_bundle_command,
        demo_command,
        plugins_group,
        storage_group,
        ledger_group,
        maintenance_command,
        retention_command,
        notify_command,
        backup_group,
        restore_command,
        new_history_command,
    ):
        app.cli.add_command(command)
