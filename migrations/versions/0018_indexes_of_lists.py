"""Indexes for lists: of inspections by form template, of items by type, and of settled items.

Revision ID: 0018
Revises: 0017
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

UNSETTLED, SETTLED = sa.text("settled_at IS NULL"), sa.text("settled_at IS NOT NULL")

#: Name -> table, columns, and the rows that it has.
Indexes = dict[str, tuple[str, list[str], Any]]
BEFORE: Indexes = {
    "ix_form_fills_form_template_id": ("form_fills", ["form_template_id"], None),
    "ix_set_aside_first_at_id": ("set_aside", ["first_at", "id"], None),
    "ix_set_aside_waiting": ("set_aside", ["first_at", "id"], UNSETTLED),
    "ix_set_aside_waiting_code": ("set_aside", ["code", "first_at", "id"], UNSETTLED),
}
AFTER: Indexes = {
    "ix_form_fills_form_template_id_inspection_id": ("form_fills", ["form_template_id", "inspection_id"], None),
    "ix_set_aside_listed": ("set_aside", ["first_at", "id", "type"], None),
    "ix_set_aside_settled": ("set_aside", ["first_at", "id", "decision", "type"], SETTLED),
    "ix_set_aside_waiting": ("set_aside", ["first_at", "id", "type"], UNSETTLED),
    "ix_set_aside_waiting_code": ("set_aside", ["code", "first_at", "id", "type"], UNSETTLED),
}


def upgrade() -> None:
    _exchange(BEFORE, AFTER)


def downgrade() -> None:
    _exchange(AFTER, BEFORE)


def _exchange(old: Indexes, new: Indexes) -> None:
    for name, (table, _, _) in old.items():
        op.drop_index(name, table)
    for name, (table, columns, rows) in new.items():
        op.create_index(name, table, columns, postgresql_where=rows, sqlite_where=rows)
