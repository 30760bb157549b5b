"""The command line: `flask --app wsgi …` (contract, section 9)."""

from __future__ import annotations

from flask import Flask

from app.cli.config import config_command
from app.cli.demo import demo_command
from app.cli.plugins import plugins_command
from app.cli.storage import storage_group
from app.cli.users import users_group


def register_commands(app: Flask) -> None:
    """Add the commands to `flask`."""
    for command in (users_group, config_command, demo_command, plugins_command, storage_group):
        app.cli.add_command(command)
