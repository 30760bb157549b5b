"""How gunicorn runs Fieldpost. `gunicorn wsgi:app` finds this file by itself."""

import os

host = os.environ.get("HOST") or "127.0.0.1"
bind = f"{f'[{host}]' if ':' in host else host}:{os.environ.get('PORT') or 8000}"
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)

# Threads: a slow upload holds one, not a whole process.
worker_class = "gthread"
threads = 4

# A worker that is silent for this long is killed. Threads that are busy do not make it silent.
timeout = 60
# On SIGTERM the requests under way get this long to finish: a batch takes well under a second.
graceful_timeout = 30
# Idle connections of devices that sync in bursts; behind a proxy its own limit counts.
keepalive = 5

# Fieldpost writes one line for each request itself, with the request id and the user.
accesslog = None

# By default gunicorn believes X-Forwarded-Proto from localhost. Which proxies are believed is said in one place:
# FIELDPOST_TRUSTED_PROXIES.
forwarded_allow_ips = ""
# gunicorn 27 opens a socket for controlling it; nobody here uses it.
control_socket_disable = True
