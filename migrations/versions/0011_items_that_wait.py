"""Indexes for lists of items that wait for a decision.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

UNSETTLED = sa.text("settled_at IS NULL")

INDEXES = {
    "ix_set_aside_waiting": ["first_at", "id"],
    "ix_set_aside_waiting_code": ["code", "first_at", "id"],
}


def upgrade() -> None:
    for name, columns in INDEXES.items():
        op.create_index(name, "set_aside", columns, postgresql_where=UNSETTLED, sqlite_where=UNSETTLED)


def downgrade() -> None:
    for name in reversed(INDEXES):
        op.drop_index(name, "set_aside")
