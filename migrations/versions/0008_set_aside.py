"""Items that were not applied, and who in the office decided an operation instead of its sender.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

UNSETTLED = sa.text("settled_at IS NULL")
UNCHANGED = sa.text("version_before = version_after")


def upgrade() -> None:
    op.create_table(
        "set_aside",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("device_id", sa.String(36), nullable=False),
        sa.Column("local_id", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("type", sa.String(255), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("details", JSON, nullable=True),
        sa.Column("retryable", sa.Boolean(), nullable=False),
        sa.Column("entity", sa.String(64), nullable=True),
        sa.Column("entity_id", sa.String(36), nullable=True),
        sa.Column("inspection_id", ID, nullable=True),
        sa.Column("item", JSON, nullable=True),
        sa.Column("is_cut", sa.Boolean(), nullable=False),
        sa.Column("seen", JSON, nullable=True),
        sa.Column("seen_version", TIME, nullable=True),
        sa.Column("item_bytes", sa.Integer(), nullable=False),
        sa.Column("first_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("decision", sa.String(16), nullable=True),
        sa.Column("decided_by_id", ID, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("settled_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_set_aside"),
    )
    op.create_index("ix_set_aside_inspection_id", "set_aside", ["inspection_id"])
    op.create_index("ix_set_aside_first_at_id", "set_aside", ["first_at", "id"])
    op.create_index(
        "ix_set_aside_unsettled",
        "set_aside",
        ["user_id", "item_bytes"],
        postgresql_where=UNSETTLED,
        sqlite_where=UNSETTLED,
    )
    op.add_column("ledger_operations", sa.Column("decided_by_id", ID, nullable=True))
    op.create_index(
        "ix_ledger_operations_unchanged",
        "ledger_operations",
        ["user_id", "entity", "entity_id"],
        postgresql_where=UNCHANGED,
        sqlite_where=UNCHANGED,
    )


def downgrade() -> None:
    op.drop_index("ix_ledger_operations_unchanged", "ledger_operations")
    op.drop_column("ledger_operations", "decided_by_id")
    op.drop_table("set_aside")
