"""The start of a process that serves or runs a command: its application, and what must be so before it serves."""

from __future__ import annotations

import os
import sys
from functools import partial
from threading import Thread

import click
from flask import Flask

from app.core.database.engine import leave_connections, require_sound
from app.core.database.sqlite_file import SQLiteFile
from app.core.host.drift import tell_drift
from app.core.host.migrations import require_migrations
from app.core.host.watch import watchdog
from app.core.ledger.state import require_whole
from app.errors import StartError
from app.pages.first_run import tell_first_run
from app.serving.application import create_app
from app.serving.shared import has_served

#: gunicorn's exit code of a worker that cannot load its application; after any other it would start new ones for ever.
APP_LOAD_ERROR = 4


def start() -> Flask:
    """The application of this process. A process that cannot start says why, and ends."""
    is_command = click.get_current_context(silent=True) is not None
    try:
        app = create_app(None, None, makes_data=not is_command)
        # Not on the command line, where `db upgrade` must work, and nobody starts an ended process again.
        if not is_command:
            _prepare_to_serve(app)
    except StartError as error:
        print(f"Fieldpost cannot start. {error}", file=sys.stderr)
        sys.exit(APP_LOAD_ERROR)
    return app


def _prepare_to_serve(app: Flask) -> None:
    SQLiteFile.makes_file = not has_served()
    require_sound(app)
    require_migrations(app)
    require_whole(app)
    SQLiteFile.makes_file = False
    watchdog.ends_worker = SQLiteFile.ends_worker = True
    os.register_at_fork(after_in_child=partial(leave_connections, app))
    _tell(app)


def _tell(app: Flask) -> None:
    """Tell of drift and of the first run in threads, because nobody has to wait for a warning.

    Only a fork waits for them: it would copy the locks that SQLite's library holds for them, and in the new process
    nobody would give these back. With `--preload`, gunicorn forks its workers right after the start.
    """
    for tell in (tell_drift, tell_first_run):
        thread = Thread(target=tell, args=(app,), daemon=True)
        thread.start()
        os.register_at_fork(before=thread.join)
