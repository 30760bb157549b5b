"""Sign-ins of browsers, for pages: they have a cookie instead of tokens, and end sooner.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sign_ins", sa.Column("is_browser", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.execute("DELETE FROM sign_ins WHERE is_browser")
    op.drop_column("sign_ins", "is_browser")
