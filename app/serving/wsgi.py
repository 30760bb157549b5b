"""The application of a process: the WSGI entry point of servers, and of `flask --app wsgi …`."""

import gc
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

# Nearly all that loading makes stays: to look for garbage in it, now or later, would take a fifth of each start.
gc.disable()
try:
    app: "Flask" = import_module("app.serving.start").start()
    gc.freeze()
finally:
    gc.enable()
