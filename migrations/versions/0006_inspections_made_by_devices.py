"""Inspections may have a client_id: devices make them.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inspections", sa.Column("client_id", sa.String(36), nullable=True))
    # Not a constraint: SQLite would have to make the table anew, and delete the rows that point to it.
    op.create_index("uq_inspections_client_id", "inspections", ["client_id"], unique=True)


def downgrade() -> None:
    op.drop_index("uq_inspections_client_id", "inspections")
    op.drop_column("inspections", "client_id")
