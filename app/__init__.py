"""Fieldpost: the server that field-inspection apps sync with. `create_app` makes one application."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.clock import Clock


def create_app(
    overrides: Mapping[str, str] | None = None, clock: Clock | None = None, *, makes_data: bool = True
) -> Flask:
    """A ready application. `overrides` are environment variables that win over the process's own.

    With `makes_data` it makes the data directory and the key if they are not there, as a server must; a command that
    looks in the wrong place must not. Raises `StartError`, which names the fault and its cure.
    """
    # Loaded here and not above, so that `import app.errors` does not load the whole server.
    application: Flask = import_module("app.serving.application").create_app(overrides, clock, makes_data)
    return application
