"""The database in one place: how it is opened, begun, read and written, on SQLite and on PostgreSQL.

Both databases have the same methods (`protocol.py`), so that no other module asks which of them it talks to.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from app.core.database.postgresql import PostgreSQL
from app.core.database.protocol import Database, MigrationError
from app.core.database.sqlite import SQLite

__all__ = ["Database", "MigrationError", "database_named", "database_of"]

_DATABASES: dict[str, Database] = {database.name: database for database in (PostgreSQL(), SQLite())}


def database_of(source: Session | Connection | Engine) -> Database:
    """The database that a session, a connection or an engine talks to."""
    bind = source.get_bind() if isinstance(source, Session) else source
    return _DATABASES[bind.dialect.name]


def database_named(name: str) -> Database:
    """The database with SQLAlchemy's name for it: `postgresql` or `sqlite`."""
    return _DATABASES[name]
