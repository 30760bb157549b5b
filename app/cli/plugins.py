"""`fieldpost plugins`: lists, checks and removes plugins, and writes new ones and their migrations."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from string import Template

import click
from alembic.util import CommandError
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy import func, inspect, select

from app.administration.settings import installed_plugins, installed_types
from app.cli.data import require_file, with_data
from app.core.database.engine import db
from app.core.host.checks.plugins import PLUGIN_NAME
from app.core.host.drift import find_drift
from app.core.host.migrations import CORE, UPGRADE, add_revision, missing, take_back, version_table
from app.core.host.registry import Registered, Registry, current_registry
from app.models import LedgerEntry, LedgerOperation
from app.plugin_api import API_VERSION

TEMPLATES = Path(__file__).parent / "templates" / "plugin"

#: The suffix keeps tools from taking a template for code of this project; `PLACE` in file names becomes the plugin's.
SUFFIX, PLACE = ".txt", "NAME"


@click.group("plugins", invoke_without_command=True)
@click.pass_context
@with_appcontext
def plugins_group(context: click.Context) -> None:
    """List operation types, then plugins, with their distribution and version; or look after plugins."""
    if context.invoked_subcommand is not None:
        return
    rows = [("TYPE", "ALIASES", "DISTRIBUTION", "VERSION", "POLICY")]
    for handler, distribution, version in installed_types():
        aliases = ",".join(handler.aliases) or "-"
        rows.append((handler.type, aliases, distribution, version, _path(handler.policy)))
    _print_table(rows)
    plugins = installed_plugins()
    if plugins:
        click.echo()
        _print_table([("PLUGIN", "DISTRIBUTION", "VERSION"), *plugins])


@plugins_group.command("check")
@with_appcontext
def check_command() -> None:
    """Make all checks of a start, and compare models and tables; exits with 1 if anything is wrong."""
    # This command runs in an application that has started, so that only the database is left to check.
    registry = current_registry()
    require_file()
    with db.engine.connect() as connection:
        sentences = [f"{sentence} Run `{UPGRADE}`." for sentence in missing(connection)]
        sentences += map(str, find_drift(connection))
    for sentence in sentences:
        click.echo(sentence, err=True)
    if sentences:
        sys.exit(1)
    click.echo(f"{len(registry.handlers)} types and {len(registry.installed)} plugins are all right.")
    for sentence in (*_open_routes(registry), *_effects(registry)):
        click.echo(sentence)


def _open_routes(registry: Registry) -> Iterator[str]:
    """The routes that plugins answer without a sign-in, so that nobody has to read their code to know."""
    blueprints = [installed.plugin.blueprint for installed in registry.installed.values()]
    names = {blueprint.name for blueprint in blueprints if blueprint is not None} | registry.pages
    for rule in current_app.url_map.iter_rules():
        is_public = getattr(current_app.view_functions[rule.endpoint], "is_public", False)
        if is_public and rule.endpoint.partition(".")[0] in names:
            methods = ", ".join(sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}))
            yield f"Open to everybody: {methods} {rule.rule}"


def _effects(registry: Registry) -> Iterator[str]:
    """The effects of plugins' blueprints beyond their own routes."""
    for name, sentences in registry.reach.items():
        for sentence in sentences:
            yield f"{name}: {sentence}"


@plugins_group.command("new")
@click.argument("name")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), help="Where to; default: ./NAME.")
def new_command(name: str, directory: Path | None) -> None:
    """Write a complete distribution with the operation type NAME: a table of its own, migration, tests."""
    if not PLUGIN_NAME.fullmatch(name) or keyword.iskeyword(name):
        raise click.ClickException(f"{name!r} cannot be a type. Use lower-case words joined by underscores.")
    target = directory or Path(name)
    if target.exists() and any(target.iterdir()):
        raise click.ClickException(f"{target} is there and not empty. Name another place with --directory.")
    for path in write_plugin(name, target):
        click.echo(path)
    click.echo(f"Next: `pip install --editable {target}`, then `{UPGRADE}`, and `pytest` in {target}.")


def write_plugin(name: str, target: Path) -> Iterator[Path]:
    """Write a distribution with the operation type `name` into `target`; yields the path of each file."""
    words = name.split("_")
    values = {
        "name": name,
        "package": f"fieldpost_{name}",
        "distribution": f"fieldpost-{name.replace('_', '-')}",
        "model": "".join(word.capitalize() for word in words),
        "noun": " ".join(words),
        "api_version": API_VERSION,
    }
    for source in sorted(TEMPLATES.rglob(f"*{SUFFIX}")):
        relative = str(source.relative_to(TEMPLATES)).removesuffix(SUFFIX).replace(PLACE, name)
        path = target / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(source.read_text()).substitute(values))
        yield path


@plugins_group.command("revision")
@click.argument("name")
@click.option("--message", "-m", required=True, help="What the migration does.")
@with_appcontext
def revision_command(name: str, message: str) -> None:
    """Write the next migration of the plugin NAME from the differences of its models and the database."""
    _require_plugin(current_registry(), name)
    try:
        path = add_revision(name, message)
    except CommandError as error:
        raise click.ClickException(f"{error} Run `{UPGRADE}` first.") from None
    click.echo(f"{path}: read it before you run it.")


@plugins_group.command("remove")
@click.argument("name")
@click.option("--drop-tables", is_flag=True, help="Take the plugin's migrations back: its rows are lost.")
@with_data
def remove_command(name: str, drop_tables: bool) -> None:
    """Say what happens to tables, ledger rows and queued items of the plugin NAME; uninstalls nothing itself.

    NAME may be a type, for a distribution that states no plugin.
    """
    registry = current_registry()
    name, distribution = _meant(registry, name)
    types = [registered for registered in registry.handlers.values() if registered.distribution == distribution]
    if drop_tables:
        _drop_tables(registry, name)
    else:
        _tell_tables(registry, name)
    _tell_ledger(registry, name, types)
    _tell_devices(types)
    if distribution == CORE:
        click.echo("It is part of Fieldpost itself, and cannot be uninstalled alone.")
    else:
        click.echo(f"To uninstall: `pip uninstall {distribution}`, then restart the server.")


def _meant(registry: Registry, name: str) -> tuple[str, str]:
    """The name of the plugin that has this name or type, and its distribution, which may state no plugin."""
    registered = registry.handlers.get(name)
    if registered is not None and name not in registry.installed:
        plugin = registry.plugin_of(registered)
        return name if plugin is None else plugin.name, registered.distribution
    _require_plugin(registry, name)
    return name, registry.installed[name].distribution


def _require_plugin(registry: Registry, name: str) -> None:
    if name not in registry.installed:
        there = ", ".join(sorted(registry.installed)) or "none"
        raise click.ClickException(f"No plugin is called {name!r}. Installed are: {there}.")


def _drop_tables(registry: Registry, name: str) -> None:
    if name not in registry.plugins or registry.plugins[name].migrations is None:
        raise click.ClickException(f"{name} has no tables to drop. Leave --drop-tables out.")
    click.confirm(f"Drop {', '.join(registry.tables_of(name))} with all rows?", abort=True)
    take_back(name)
    click.echo("The tables are dropped. Uninstall the plugin before you start the server again.")


def _tell_tables(registry: Registry, name: str) -> None:
    tables, there = registry.tables_of(name), set(inspect(db.engine).get_table_names())
    for table in (table for table in tables if table in there):
        count = db.session.scalar(select(func.count()).select_from(db.metadata.tables[table])) or 0
        click.echo(f"Table {table}: {_counted(count, 'row')}. Stays; rows go with their inspections.")
    if tables:
        click.echo(
            f"Table {version_table(name)}: stays, so that the plugin can be installed again. "
            f"To drop all of them now: `fieldpost plugins remove {name} --drop-tables`."
        )
    else:
        click.echo("It has no tables of its own.")


def _tell_ledger(registry: Registry, name: str, types: Sequence[Registered]) -> None:
    wire = [registered.handler.type for registered in types]
    operations = db.session.scalar(select(func.count()).where(LedgerOperation.type.in_(wire))) or 0
    own = set(registry.tables_of(name))
    entities = [entity for entity, model in registry.models.items() if inspect(model).local_table.name in own]
    entries = db.session.scalar(select(func.count()).where(LedgerEntry.entity.in_(entities))) or 0
    click.echo(
        f"Ledger: {_counted(operations, 'operation')} and {_counted(entries, 'changed row')}. They stay: retries of "
        "what was applied are answered as before, and the feed leaves entities out that it does not know."
    )


def _tell_devices(types: Sequence[Registered]) -> None:
    for registered in types:
        names = ", ".join((registered.handler.type, *registered.handler.aliases))
        click.echo(
            f"Type {names}: items that devices still have queued are answered with invalid_type, not retryable. "
            "Let devices sync before."
        )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _path(function: Callable[..., object]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"
