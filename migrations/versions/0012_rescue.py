"""Who has read in the rescue file that an operation came from.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ledger_operations", sa.Column("read_in_by_id", ID, nullable=True))


def downgrade() -> None:
    op.drop_column("ledger_operations", "read_in_by_id")
