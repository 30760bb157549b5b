"""The audit log of administration and sign-ins, and an index that sums up how much a user has stored.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("id", ID, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("door", sa.String(length=16), nullable=False),
        sa.Column("actor_id", ID, nullable=True),
        sa.Column("actor_email", sa.String(length=255), nullable=True),
        sa.Column("entity", sa.String(length=64), nullable=True),
        sa.Column("entity_id", sa.String(length=64), nullable=True),
        sa.Column("details", JSON, nullable=False),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("device_id", sa.String(length=36), nullable=True),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("last_at", TIME, nullable=True),
        sa.Column("tally", sa.String(length=80), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
        sa.UniqueConstraint("tally", name=op.f("uq_audit_entries_tally")),
        sqlite_autoincrement=True,
    )
    for names in (["at", "id"], ["actor_id", "at", "id"], ["action", "at", "id"]):
        op.create_index(op.f(f"ix_audit_entries_{'_'.join(names)}"), "audit_entries", names)
    op.create_index("ix_attachments_use", "attachments", ["uploaded_by_id", "deleted_at", "byte_size"])


def downgrade() -> None:
    op.drop_index("ix_attachments_use", "attachments")
    op.drop_table("audit_entries")
