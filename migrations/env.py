"""How Alembic runs migrations, the core's and any plugin's: on the application's engine, in one locked transaction."""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from flask import current_app
from sqlalchemy import Connection

from app.core.database.engine import db
from app.core.host.migrations import Chain, core_chain, locked_connection
from app.models import BigId, JSONValue, UTCDateTime


def run() -> None:
    """Do what Alembic was asked for, with the chain and the connection of `app.core.host.migrations`, if it has any."""
    chain = context.config.attributes.get("chain") or core_chain()
    connection = context.config.attributes.get("connection")
    if connection is not None:
        run_chain(chain, connection)
    else:
        with locked_connection() as connection:
            run_chain(chain, connection)


def render_item(_kind: str, found: object, autogenerate: AutogenContext) -> str | Literal[False]:
    """How a new migration writes our own column types; everything else as Alembic does."""
    ours = {id(BigId): "BigId", id(JSONValue): "JSONValue"}
    name = "UTCDateTime" if isinstance(found, UTCDateTime) else ours.get(id(found))
    if name is None:
        return False
    autogenerate.imports.add(f"from app.models import {name}")
    return f"{name}()" if name == "UTCDateTime" else name


def run_chain(chain: Chain, connection: Connection) -> None:
    """Everything outside the chain's own tables is somebody else's, and left alone."""
    tables = chain.tables()
    context.configure(
        connection=connection,
        target_metadata=db.metadata,
        version_table=chain.version_table,
        include_name=lambda name, kind, _parents: kind != "table" or name in tables,
        include_object=lambda _found, name, kind, _reflected, _other: kind != "table" or name in tables,
        render_item=render_item,
        **current_app.extensions["migrate"].configure_args,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
