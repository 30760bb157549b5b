"""Which constraint a database error is about, and the sentence that its entity has for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import CheckConstraint, Constraint, Index, Table, UniqueConstraint, inspect
from sqlalchemy.exc import IntegrityError


def sentence_of(error: IntegrityError, models: Iterable[Any]) -> str | None:
    """The sentence that one of the models' entities has for the breached constraint; None: it has none."""
    for model in models:
        table = inspect(model).local_table
        for name, sentence in model.__entity__.constraints.items():
            if _is_breached(error, table, name):
                return str(sentence)
    return None


def _is_breached(error: IntegrityError, table: Table, name: str) -> bool:
    breached = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    if breached is not None:
        return bool(breached == name)
    rules: list[Constraint | Index] = [*table.constraints, *table.indexes]
    constraint = next((rule for rule in rules if rule.name == name), None)
    return constraint is not None and _sqlite_sign(table, constraint) in str(error.orig)


def _sqlite_sign(table: Table, constraint: Constraint | Index) -> str:
    """SQLite's words for a breach: it names CHECK constraints, but UNIQUE ones by their columns only."""
    if isinstance(constraint, UniqueConstraint | Index):
        columns = ", ".join(f"{table.name}.{column.name}" for column in constraint.columns)
        return f"UNIQUE constraint failed: {columns}"
    if isinstance(constraint, CheckConstraint):
        return f"CHECK constraint failed: {constraint.name}"
    return "FOREIGN KEY constraint failed"
