"""An index for the client_ids of rows that were deleted, so that their later items need not be sent again.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

NAME = "ix_ledger_entries_client_id"


def upgrade() -> None:
    # Few entries have one: the index holds those alone, and the others cost it nothing.
    named = sa.text("client_id IS NOT NULL")
    op.create_index(NAME, "ledger_entries", ["client_id"], postgresql_where=named, sqlite_where=named)


def downgrade() -> None:
    op.drop_index(NAME, "ledger_entries")
