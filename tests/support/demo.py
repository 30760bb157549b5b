"""The demo data for servers of tests, made in this process: a command takes longer to start than to add it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from unittest.mock import patch

from app.clock import system_clock
from tests.support.applications import lent
from tests.support.databases import SECRET_KEY, sqlite_file
from tests.support.servers import environment_of


def add_demo(environment: Mapping[str, str]) -> None:
    """Do what `fieldpost demo --anyway` does with these settings, on a migrated database."""
    settings = {name: value for name, value in environment.items() if name.startswith(("FIELDPOST_", "DATABASE_URL"))}
    credentials = {name: value for name, value in environment.items() if name.startswith("AWS_")}
    with patch.dict(os.environ, credentials), lent(settings, system_clock) as app:
        result = app.test_cli_runner().invoke(args=["demo", "--anyway"])
    assert result.exit_code == 0, result.output


def copy_demo(directory: Path) -> None:
    """Put a SQLite database with the demo data, and its photos and passwords, into a directory."""
    shutil.copytree(_made(), directory, dirs_exist_ok=True)


@cache
def _made() -> Path:
    """A data directory with the demo data; one for each process."""
    directory = Path(tempfile.mkdtemp(prefix="fieldpost-demo-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    with sqlite_file(directory):
        add_demo(environment_of(directory, FIELDPOST_SECRET_KEY=SECRET_KEY))
    return directory
