"""How Alembic runs the core's migrations: on the application's engine, in one transaction."""

from alembic import context
from flask import current_app

from app.extensions import WRITES, db
from app.models import Inspection


def run() -> None:
    """Run the migrations that are missing. Plugins' tables have version tables of their own and are left alone."""
    core = {table.name for mapper in Inspection.registry.mappers for table in mapper.tables if _is_core(mapper.class_)}
    options = current_app.extensions["migrate"].configure_args
    with db.engine.connect().execution_options(**{WRITES: True}) as connection:
        context.configure(
            connection=connection,
            target_metadata=db.metadata,
            include_name=lambda name, kind, _parents: kind != "table" or name in core,
            **options,
        )
        with context.begin_transaction():
            context.run_migrations()


def _is_core(model: type) -> bool:
    return model.__module__.startswith("app.models")


run()
