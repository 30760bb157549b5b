"""An index for the form fills of a template.

Revision ID: 0014
Revises: 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_form_fills_form_template_id"), "form_fills", ["form_template_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_form_fills_form_template_id"), "form_fills")
