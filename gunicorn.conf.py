"""How gunicorn runs Fieldpost from a checkout. `gunicorn wsgi:app` finds this file by itself."""

from app.serving.gunicorn_conf import *  # noqa: F403
from app.serving.gunicorn_conf import forget_modules

forget_modules()
