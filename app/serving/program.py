"""The program `fieldpost`: `fieldpost serve` is the server, and everything else a command.

The two are loaded apart: the server's master process must not load the libraries that its workers use.
"""

from __future__ import annotations

import sys
from importlib import import_module

from app.core.environment_file import read_environment_file
from app.errors import ConfigurationError

#: The first argument that means the server, and that of the command for a server that does not start.
SERVE, SUPPORT_BUNDLE = "serve", "support-bundle"


def main() -> None:
    """Run `fieldpost …`, with the settings of the environment file."""
    try:
        read_environment_file()
    except ConfigurationError as error:
        if sys.argv[1:2] != [SUPPORT_BUNDLE]:
            sys.exit(f"Fieldpost cannot start. {error}")
    is_server = sys.argv[1:2] == [SERVE] and "--help" not in sys.argv
    import_module("app.serving.serve" if is_server else "app.serving.commands").main()


if __name__ == "__main__":
    main()
