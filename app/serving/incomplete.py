"""As much of an application as can be made of a server that does not start, for commands that look at it."""

from __future__ import annotations

import os
from collections.abc import Collection
from secrets import token_urlsafe

from flask import Flask

from app.config import load_settings, names_of_settings
from app.core.environment_file import read_environment_file
from app.errors import StartError
from app.serving.application import create_core, install_plugins

#: The settings that are kept, if an application cannot be made with more of them. None: all.
LESS_AND_LESS: tuple[Collection[str] | None, ...] = (
    None,
    ("DATABASE_URL", "FIELDPOST_DATA_DIR", "FIELDPOST_STORAGE", "FIELDPOST_S3_ENDPOINT"),
    ("DATABASE_URL", "FIELDPOST_DATA_DIR"),
    ("FIELDPOST_DATA_DIR",),
    (),
)


def create_incomplete_app() -> tuple[Flask, list[str]]:
    """An application with the settings that can be used and the plugins that can be loaded, and why these are not all.

    Where nothing is wrong it is the whole application. It makes no data, and must not serve.
    """
    faults: list[str] = []
    try:
        read_environment_file()
    except StartError as error:
        faults.append(str(error))
    app = next(app for names in LESS_AND_LESS if (app := _made(names, faults)) is not None)
    try:
        install_plugins(app, app.extensions["fieldpost.settings"])
    except Exception as error:  # a plugin's own code
        faults.append(_told(error))
    # A setting stands in the way as long as it is kept.
    return app, list(dict.fromkeys(faults))


def _made(names: Collection[str] | None, faults: list[str]) -> Flask | None:
    try:
        return create_core(load_settings(_environment(names), makes_data=False))
    except Exception as error:  # a setting may make any library fail
        if names == ():
            raise
        faults.append(_told(error))
        return None


def _environment(names: Collection[str] | None) -> dict[str, str]:
    """The environment, of our settings with these alone, and with a key that signs nothing."""
    if names is None:
        return dict(os.environ)
    others = {*names_of_settings()} - {*names}
    kept = {name: value for name, value in os.environ.items() if name not in others}
    return {**kept, "FIELDPOST_SECRET_KEY": token_urlsafe(48)}


def _told(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, StartError) else f"{type(error).__name__}: {text}"
