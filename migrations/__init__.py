"""Alembic migrations of the core. A plugin brings its own, with its own version table."""
