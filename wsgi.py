"""The WSGI entry point: `gunicorn wsgi:app`, `flask --app wsgi …`."""

import sys

from app import create_app
from app.errors import StartError

#: gunicorn's exit code of a worker that cannot load its application; with any other it would start one after another.
APP_LOAD_ERROR = 4

try:
    app = create_app()
except StartError as error:
    print(f"Fieldpost cannot start. {error}", file=sys.stderr)
    sys.exit(APP_LOAD_ERROR)
