"""A row for each refresh token that may still be used, so that two refreshes at once both live.

The sign-ins of before end: their tokens have no rows.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TIME = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")

#: The columns of a sign-in that counted its generations of tokens.
COUNTERS = ("generation", "attempt", "next_attempt")


def upgrade() -> None:
    op.execute("DELETE FROM sign_ins")
    for name in COUNTERS:
        op.drop_column("sign_ins", name)
    op.create_table(
        "refresh_tokens",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("sign_in_id", sa.String(length=36), nullable=False),
        sa.Column("predecessor_id", sa.String(length=36), nullable=True),
        sa.Column("issued_at", TIME, nullable=False),
        sa.Column("first_used_at", TIME, nullable=True),
        sa.Column("has_used_successor", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sign_in_id"], ["sign_ins.id"], name=op.f("fk_refresh_tokens_sign_in_id_sign_ins"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refresh_tokens")),
    )
    op.create_index("ix_refresh_tokens_sign_in_id", "refresh_tokens", ["sign_in_id"])


def downgrade() -> None:
    op.drop_table("refresh_tokens")
    op.execute("DELETE FROM sign_ins")
    for name in COUNTERS:
        op.add_column("sign_ins", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
