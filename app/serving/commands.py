"""The commands of `fieldpost`: those of `flask --app wsgi`, from any directory and without Flask's own."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import click
from flask import Flask
from flask.cli import FlaskGroup

from app import create_app
from app.cli.support_bundle import make_bundle
from app.cli.support_bundle import support_bundle_command as of_app
from app.errors import StartError
from app.serving.incomplete import create_incomplete_app

#: Options of Flask's command that make no sense where the application is known.
OF_FLASK = {"app", "debug", "env_file"}


def load() -> Flask:
    """The application of a command; ends the process with a sentence if its settings or plugins are at fault."""
    try:
        return create_app(makes_data=False)
    except StartError as error:
        sys.exit(f"Fieldpost cannot start. {error}")


class Program(FlaskGroup):
    """All commands of the application."""

    def __init__(self) -> None:
        super().__init__(
            name="fieldpost",
            help="The server that field-inspection apps sync with, and everything to look after it.",
            create_app=load,
            add_default_commands=False,
            add_version_option=False,
            load_dotenv=False,
            set_debug_flag=False,
            context_settings={"auto_envvar_prefix": None},
        )
        self.params = [parameter for parameter in self.params if parameter.name not in OF_FLASK]
        click.version_option(package_name="fieldpost", message="%(package)s %(version)s")(self)
        self.add_command(serve_command)
        self.add_command(support_bundle_command)


@click.command("serve")
def serve_command() -> None:
    """Serve. Options after `serve` are gunicorn's own, such as --pid."""
    import_module("app.serving.serve").main()


@click.command("support-bundle", help=of_app.help, params=of_app.params)
def support_bundle_command(target: Path) -> None:
    """As the application's command, which is not to be had where the application cannot be made."""
    app, faults = create_incomplete_app()
    with app.app_context():
        make_bundle(target, faults)


def main() -> None:
    """Run the command that the arguments name."""
    Program().main(prog_name="fieldpost")
