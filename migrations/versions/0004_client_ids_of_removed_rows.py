"""The ledger keeps the client_id of a row that was deleted, so that its removal can name the row to devices.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ledger_entries", sa.Column("client_id", sa.String(36), nullable=True))


def downgrade() -> None:
    op.drop_column("ledger_entries", "client_id")
