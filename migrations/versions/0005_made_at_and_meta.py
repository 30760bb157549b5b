"""The device's time of a change and the app's notes about it, kept with the operation.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")


def upgrade() -> None:
    op.add_column("ledger_operations", sa.Column("made_at", TIME, nullable=True))
    op.add_column("ledger_operations", sa.Column("meta", JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("ledger_operations", "meta")
    op.drop_column("ledger_operations", "made_at")
