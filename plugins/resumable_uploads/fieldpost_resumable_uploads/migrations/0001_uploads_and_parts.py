"""Uploads, and the parts of them that have arrived."""

import sqlalchemy as sa
from alembic import op

from app.models import BigId, UTCDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "resumable_uploads",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("user_id", BigId, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("sent_metadata", sa.Text(), nullable=False),
        sa.Column("byte_size", BigId, nullable=False),
        sa.Column("received", BigId, nullable=False),
        sa.Column("attachment_id", sa.String(36)),
        sa.Column("expires_at", UTCDateTime(), nullable=False),
    )
    op.create_index("ix_resumable_uploads_user_id", "resumable_uploads", ["user_id"])
    op.create_index("ix_resumable_uploads_expires_at", "resumable_uploads", ["expires_at"])
    op.create_table(
        "resumable_uploads_parts",
        sa.Column("id", BigId, primary_key=True),
        sa.Column(
            "upload_id", sa.String(36), sa.ForeignKey("resumable_uploads.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("start", BigId, nullable=False),
        sa.Column("byte_size", BigId, nullable=False),
        sa.Column("storage_key", sa.String(255), nullable=False, unique=True),
        sa.UniqueConstraint("upload_id", "start"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    """Drop both tables. The objects in the storage are collected later, because no row names them."""
    op.drop_table("resumable_uploads_parts")
    op.drop_table("resumable_uploads")
