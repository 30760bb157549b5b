"""The application's database: the base of its models, and the engine with the listeners of its database."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData, event, make_url
from sqlalchemy.orm import DeclarativeBase

from app.config import Settings
from app.core.database import database_named, database_of
from app.core.database.session import RestrictableSession, refuse_writing

#: Each constraint has the same name on both databases, so that migrations and plugins can name it.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The declarative base of the core's models and the plugins'."""

    metadata = MetaData(naming_convention=NAMING)


db = SQLAlchemy(
    model_class=Base, session_options={"class_": RestrictableSession, "expire_on_commit": False, "autoflush": False}
)


#: The pools of this process's parent.
_left: list[Any] = []


def write_json(value: Any) -> str:
    """JSON text for a database column."""
    return orjson.dumps(value).decode()


def engine_options(settings: Settings) -> dict[str, Any]:
    """SQLAlchemy's options for connections to the configured database."""
    database = database_named(make_url(settings.database_url).get_backend_name())
    return {
        "json_serializer": write_json,
        "json_deserializer": orjson.loads,
        # An error's text goes to the log, where no data belong.
        "hide_parameters": True,
        **database.options(settings.database_seconds),
    }


def prepare_engine(app: Flask) -> None:
    """Attach our listeners to the application's engine."""
    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", refuse_writing)
    database_of(engine).prepare(engine)


def require_sound(app: Flask) -> None:
    """Raise `StartError` if the database's file is damaged, as far as a short look can tell."""
    with app.app_context():
        engine = db.engine
    database_of(engine).require_sound(engine)


def leave_connections(app: Flask) -> None:
    """Take no connection in a forked process that its parent has opened: both would write to one socket or file.

    They stay open here, because SQLite's library must not close them in another process.
    """
    with app.app_context():
        _left.append(db.engine.pool)
        db.engine.dispose(close=False)


def close_connections(app: Flask) -> None:
    """Close the connections that are not in use: SQLite's last one copies the log into the file and removes it."""
    with app.app_context():
        db.engine.dispose()
