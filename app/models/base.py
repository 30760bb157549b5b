"""The mixins that every row has.

A version is a row's `updated_at` (contract, section 3.1): whole milliseconds, UTC, strictly increasing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, declared_attr, mapped_column, relationship

from app.core.database.types import BigId, UTCDateTime
from app.plugin_api import Entity

if TYPE_CHECKING:
    from app.models.inspections import Inspection


def choice_constraint(column: str, values: Iterable[str]) -> CheckConstraint:
    """The constraint, named after the column, that a text column holds one of `values`."""
    choices = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({choices})", name=column)


class Versioned:
    """A row with a version. `app.core.ledger.record` sets both times; nobody else does."""

    __entity__: ClassVar[Entity]

    #: When the row was made: its first version.
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    #: Its present version.
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime)


class Syncable(Versioned):
    """A row below an inspection, which decides who may see it. The inspection never changes."""

    id: Mapped[Any] = mapped_column(BigId, primary_key=True)

    @declared_attr
    def inspection_id(cls) -> Mapped[int]:
        """The root that decides who may see the row."""
        # Installed models' rows are deleted through the ledger; those of an uninstalled plugin go with their root.
        return mapped_column(ForeignKey("inspections.id", ondelete="CASCADE"), index=True)

    @declared_attr
    def inspection(cls) -> Mapped[Inspection]:
        """The root itself. Policies read it in memory; a query here would be one for each operation."""
        # The join is spelled out since a row may outlive its inspection and then have no foreign key.
        join = f"foreign({cls.__name__}.inspection_id) == Inspection.id"  # type: ignore[attr-defined]
        return relationship("Inspection", primaryjoin=join, lazy="raise_on_sql", viewonly=True)
