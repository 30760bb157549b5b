"""Indexes for lists of inspections by date.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_inspections_date_id"), "inspections", ["date", "id"])
    op.create_index(op.f("ix_inspections_status_date_id"), "inspections", ["status", "date", "id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_inspections_status_date_id"), "inspections")
    op.drop_index(op.f("ix_inspections_date_id"), "inspections")
