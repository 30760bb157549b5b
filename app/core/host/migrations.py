"""The migrations of the core and of every installed plugin, run together and under one lock.

Each has its own chain and its own version table. If they shared one, uninstalling a plugin would leave a revision that
nobody can find, and the core could not be upgraded either.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask, current_app
from psycopg.errors import DeadlockDetected
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.core.database import MigrationError, database_of
from app.core.database.engine import db
from app.core.host.findings import Finding, Kind
from app.core.host.registry import Registry, core_tables, current_registry
from app.errors import StartError, TryAgainError

logger = logging.getLogger(__name__)

#: The name of the core's chain; the others have their plugins' names.
CORE = "fieldpost"

UPGRADE = "fieldpost db upgrade"


class NotMigratedError(StartError):
    """The database lacks migrations of this release, or of an installed plugin."""


MANY_ENDS = Kind(
    "its migrations {package!r} end in {count} revisions", "Let each follow exactly one other, the first none."
)
NOT_READ = Kind("its migrations {package!r} cannot be read: {error}: {reason}", "Mend them.")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A database that is not at the last migration of a chain."""

    sentence: str
    #: Whether the database lacks migrations, so that an upgrade would help.
    is_behind: bool


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The migrations of the core, or of one plugin."""

    #: `fieldpost`, or the plugin's name.
    name: str
    directory: Path
    version_table: str

    def tables(self) -> set[str]:
        """The tables that the chain makes and changes."""
        return core_tables() if self.name == CORE else set(current_registry().tables_of(self.name))

    def config(self, connection: Connection | None = None) -> Config:
        """The configuration of Alembic's commands; `migrations/env.py` takes the rest from `attributes`."""
        config = Config()
        for name, value in (
            ("script_location", current_app.extensions["migrate"].directory),
            ("version_locations", str(self.directory)),
            ("path_separator", "newline"),
            ("file_template", "%(rev)s_%(slug)s"),
        ):
            config.set_main_option(name, value.replace("%", "%%"))
        config.attributes |= {"chain": self, "connection": connection}
        return config

    def needed(self) -> set[str]:
        """The last revisions of the chain."""
        return set(_scripts(self.directory).get_heads())

    def present(self, connection: Connection) -> set[str]:
        """The revisions that the database is at."""
        options = {"version_table": self.version_table}
        return set(MigrationContext.configure(connection, opts=options).get_current_heads())

    def difference(self, connection: Connection) -> Difference | None:
        """How the version of the tables differs from the one that is needed; None if it does not."""
        present, needed = self.present(connection), self.needed()
        if not needed:
            sentence = (
                f"The plugin {self.name} states migrations, but there are none in {self.directory}. If you are its "
                f"author, write the first: `fieldpost plugins revision {self.name} --message 'first table'`. "
                "Otherwise its distribution was built without them, and needs a newer release."
            )
            return Difference(sentence=sentence, is_behind=True)
        if present == needed:
            return None
        known = {script.revision for script in _scripts(self.directory).walk_revisions()}
        sentence = f"The tables of {self.name} are at migration {_named(present)}, and {_named(needed)} is needed."
        return Difference(sentence=sentence, is_behind=present <= known)


def core_chain() -> Chain:
    """The core's migrations."""
    directory = Path(current_app.extensions["migrate"].directory) / "versions"
    return Chain(name=CORE, directory=directory, version_table="alembic_version")


def plugin_chains(registry: Registry) -> list[Chain]:
    """The migrations of every plugin that has some, by name."""
    return [
        Chain(name=name, directory=_directory(plugin.migrations), version_table=version_table(name))
        for name, plugin in sorted(registry.plugins.items())
        if plugin.migrations is not None
    ]


def all_chains() -> list[Chain]:
    """The core's migrations, and those of every installed plugin."""
    return [core_chain(), *plugin_chains(current_registry())]


def version_table(plugin: str) -> str:
    """The name of the table that holds the version of a plugin's tables."""
    return f"alembic_version_{plugin}"


def wrong_migrations(registry: Registry) -> Iterator[Finding]:
    """Everything that is wrong with the plugins' migrations themselves, in any database."""
    for installed in registry.installed.values():
        package = installed.plugin.migrations
        if package is None:
            continue
        try:
            heads = _scripts(_directory(package)).get_heads()
        except Exception as error:  # each migration is a module, which may raise anything
            yield NOT_READ.at(str(installed), package=package, error=type(error).__name__, reason=error)
            continue
        # A package may have none yet: `plugins revision` writes the first, and needs an application that starts.
        if len(heads) > 1:
            yield MANY_ENDS.at(str(installed), package=package, count=len(heads))


def upgrade() -> list[Chain]:
    """Run all migrations that are missing, the core's first, in one transaction. Returns the chains."""
    chains = all_chains()
    with locked_connection() as connection:
        for chain in chains:
            try:
                command.upgrade(chain.config(connection), "heads")
            except Exception as error:  # a migration may raise anything
                is_given_up = isinstance(getattr(error, "orig", None), DeadlockDetected)
                advice = (
                    "Requests were in its way, and nothing has changed. Run it again; if it stays so, with no server "
                    "running."
                    if is_given_up
                    else "Mend them, or uninstall the plugin."
                )
                raise MigrationError(
                    f"The migrations of {chain.name} raised {type(error).__name__}: {error}. {advice}"
                ) from error
    return chains


def _chain_of(plugin: str) -> Chain:
    (chain,) = (chain for chain in plugin_chains(current_registry()) if chain.name == plugin)
    return chain


def take_back(plugin: str) -> None:
    """Undo all migrations of one plugin: its tables and their rows are gone."""
    chain = _chain_of(plugin)
    with locked_connection() as connection:
        command.downgrade(chain.config(connection), "base")
        connection.execute(text(f"DROP TABLE {chain.version_table}"))


def add_revision(plugin: str, message: str) -> Path:
    """Write the next migration of a plugin from the differences of its models and the database. Returns its path."""
    chain = _chain_of(plugin)
    number = f"{1 + sum(1 for _ in _scripts(chain.directory).walk_revisions()):04}"
    made = command.revision(
        chain.config(), message, autogenerate=True, rev_id=number, version_path=str(chain.directory)
    )
    (revision,) = made if isinstance(made, list) else [made]
    assert revision is not None
    return Path(revision.path)


def missing(connection: Connection) -> list[str]:
    """A sentence for each chain of which the database lacks migrations."""
    return [difference.sentence for difference in _differences(connection) if difference.is_behind]


def require_migrations(app: Flask) -> None:
    """Raise `NotMigratedError` if the database lacks migrations.

    A database that does not answer now may do so later, and one that a newer release has migrated still serves this
    release while the two run side by side: both are warnings.
    """
    with app.app_context():
        try:
            with db.engine.connect() as connection:
                differences = _differences(connection)
        except (DBAPIError, TryAgainError) as error:
            logger.warning(
                "the database does not answer, so its migrations are not checked: %s", getattr(error, "orig", error)
            )
            return
    behind = [difference.sentence for difference in differences if difference.is_behind]
    if behind:
        raise NotMigratedError(f"{' '.join(behind)} Run `{UPGRADE}`, then start again.")
    for difference in differences:
        logger.warning("the database is that of a newer release: %s Upgrade this node, too.", difference.sentence)


def _differences(connection: Connection) -> list[Difference]:
    """The chains whose version in the database is not the one of this release."""
    differences = (chain.difference(connection) for chain in all_chains())
    return [difference for difference in differences if difference is not None]


@contextmanager
def locked_connection() -> Iterator[Connection]:
    """A connection in a transaction in which nobody else migrates."""
    with db.engine.connect() as connection, database_of(connection).migrating(connection):
        yield connection


@cache
def _scripts(directory: Path) -> ScriptDirectory:
    """The migrations in a directory; they do not change while a server runs."""
    return ScriptDirectory(str(directory), version_locations=[str(directory)])


def _directory(package: str) -> Path:
    return Path(next(iter(importlib.import_module(package).__path__))).resolve()


def _named(revisions: Iterable[str]) -> str:
    return ", ".join(sorted(revisions)) or "none"
