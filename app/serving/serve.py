"""`fieldpost serve`: gunicorn with our settings and our application. Loads only gunicorn: its master imports this."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from gunicorn.app.wsgiapp import WSGIApplication

#: The server's settings and hooks, and its application.
CONFIGURATION, APPLICATION = "python:app.serving.gunicorn_conf", "app.serving.wsgi:app"


class Server(WSGIApplication):  # type: ignore[misc]
    """gunicorn, which takes its own options after `serve`, such as `--pid`."""

    def init(self, parser: Any, opts: Any, args: Any) -> None:
        """Choose settings and application, whichever directory the server is started in."""
        opts.config = opts.config or CONFIGURATION
        self.cfg.set("default_proc_name", "fieldpost")
        self.app_uri = APPLICATION

    def load_config(self) -> None:
        """Read the settings, at the start and at each reload."""
        super().load_config()
        import_module(CONFIGURATION.removeprefix("python:")).forget_modules()

    def chdir(self) -> None:
        """Go where `--chdir` says. gunicorn would import modules from there, instead of those that are installed."""
        os.chdir(self.cfg.chdir)


def main() -> None:
    """Serve until a signal ends it."""
    Server("%(prog)s serve [OPTIONS]", prog="fieldpost").run()
