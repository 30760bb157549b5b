"""An index for the operations that the office has decided; lists of a sender's open items by an index.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

DECIDED = sa.text("decided_by_id IS NOT NULL")
UNSETTLED = sa.text("settled_at IS NULL")


def upgrade() -> None:
    op.create_index(
        "ix_ledger_operations_decided",
        "ledger_operations",
        ["unit_id", "position", "decided_by_id"],
        postgresql_where=DECIDED,
        sqlite_where=DECIDED,
    )
    _replace_unsettled(["user_id", "first_at", "id", "item_bytes"])


def downgrade() -> None:
    _replace_unsettled(["user_id", "item_bytes"])
    op.drop_index("ix_ledger_operations_decided", "ledger_operations")


def _replace_unsettled(columns: list[str]) -> None:
    op.drop_index("ix_set_aside_unsettled", "set_aside")
    op.create_index("ix_set_aside_unsettled", "set_aside", columns, postgresql_where=UNSETTLED, sqlite_where=UNSETTLED)
