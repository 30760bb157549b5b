"""The WSGI entry point of a checkout: `gunicorn wsgi:app`, `flask --app wsgi …`."""

from app.serving.wsgi import app

__all__ = ["app"]
