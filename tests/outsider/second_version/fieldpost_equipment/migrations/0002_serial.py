"""A serial number for each item."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("equipment_items", sa.Column("serial", sa.String(64)))


def downgrade() -> None:
    op.drop_column("equipment_items", "serial")
