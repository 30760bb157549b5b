"""Keys of items that were not applied are shorter and begin with the user, and one index is gone: batches write less.

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_set_aside_listed", "set_aside")
    hexadecimal = "to_hex(user_id)" if op.get_bind().dialect.name == "postgresql" else "printf('%x', user_id)"
    padding = f"substr('00000000', 1, 8 - length({hexadecimal}))"
    op.execute(f"UPDATE set_aside SET id = {padding} || {hexadecimal} || substr(id, 1, 24)")
    _set_length(64, 40)


def downgrade() -> None:
    """Keys stay as they are."""
    _set_length(40, 64)
    op.create_index("ix_set_aside_listed", "set_aside", ["first_at", "id", "type"])


def _set_length(before: int, after: int) -> None:
    with op.batch_alter_table("set_aside") as table:
        table.alter_column("id", existing_type=sa.String(before), type_=sa.String(after), existing_nullable=False)
