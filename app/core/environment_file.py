"""The file of settings that the unit, the timers and the command line read, so that all mean the same server.

Its lines are `NAME=value`, as systemd and container runtimes read them: blank lines and lines that begin with `#` count
for nothing, and a value may stand in quotes. There are no variables in it, and no shell reads it.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from pathlib import Path

from app.core.settings import parse_settings
from app.errors import ConfigurationError

LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")
QUOTED = re.compile(r"\"(.*)\"|'(.*)'")


def read_environment_file(environment: MutableMapping[str, str] | None = None) -> None:
    """Add the file's settings to `environment` (default: the process's), where the same name is not set already.

    Raises `ConfigurationError` if the file is there and cannot be read: without it a command would mean another server.
    """
    environment = os.environ if environment is None else environment
    path = parse_settings(environment).environment_file
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"The settings in {path} are not in UTF-8. Save the file in UTF-8.") from error
    except OSError as error:
        raise ConfigurationError(
            f"The settings in {path} cannot be read: {error.strerror}. "
            "Run this as the user that runs the server, or as root."
        ) from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, value = _parsed(path, number, line.strip())
            environment.setdefault(name, value)


def _parsed(path: Path, number: int, line: str) -> tuple[str, str]:
    matched = LINE.fullmatch(line)
    if matched is None:
        raise ConfigurationError(f"Line {number} of {path} is no setting. Write NAME=value, without `export`.")
    name, value = matched[1], matched[2].strip()
    quoted = QUOTED.fullmatch(value)
    return name, (quoted[1] or quoted[2] or "") if quoted else value
