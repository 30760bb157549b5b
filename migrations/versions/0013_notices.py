"""What people were told by e-mail.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")


def upgrade() -> None:
    op.create_table(
        "notices",
        sa.Column("user_id", ID, autoincrement=False, nullable=False),
        sa.Column("subject", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("told_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "subject", "key", name=op.f("pk_notices")),
    )


def downgrade() -> None:
    op.drop_table("notices")
