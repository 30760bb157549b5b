"""The application of a process: the WSGI entry point of servers, and of `flask --app wsgi …`."""

import sys
from threading import Thread

import click

from app import create_app
from app.core.database.engine import require_sound
from app.core.database.sqlite_file import SQLiteFile
from app.core.host.drift import tell_drift
from app.core.host.migrations import require_migrations
from app.core.host.watch import watchdog
from app.errors import StartError
from app.pages.first_run import tell_first_run

#: gunicorn's exit code of a worker that cannot load its application; after any other it would start new ones for ever.
APP_LOAD_ERROR = 4

try:
    is_command = click.get_current_context(silent=True) is not None
    app = create_app(makes_data=not is_command)
    # Not on the command line, where `db upgrade` must work, and nobody starts an ended process again.
    if not is_command:
        require_sound(app)
        require_migrations(app)
        watchdog.ends_worker = SQLiteFile.ends_worker = True
        # Nobody has to wait for a warning.
        Thread(target=tell_drift, args=(app,), daemon=True).start()
        Thread(target=tell_first_run, args=(app,), daemon=True).start()
except StartError as error:
    print(f"Fieldpost cannot start. {error}", file=sys.stderr)
    sys.exit(APP_LOAD_ERROR)
