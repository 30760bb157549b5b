"""An index for the list of inspections with one status, which is in the order of their ids.

Revision ID: 0020
Revises: 0019
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

NAME = "ix_inspections_status_id"


def upgrade() -> None:
    op.create_index(NAME, "inspections", ["status", "id"])


def downgrade() -> None:
    op.drop_index(NAME, "inspections")
