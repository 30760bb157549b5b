"""Rooms, items and checks."""

import sqlalchemy as sa
from alembic import op

from app.models import BigId, JSONValue, UTCDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "equipment_rooms",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("inspection_id", BigId, sa.ForeignKey("inspections.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("item_count", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "equipment_items",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("inspection_id", BigId, sa.ForeignKey("inspections.id", ondelete="CASCADE"), nullable=False),
        sa.Column("client_id", sa.String(36), unique=True),
        sa.Column("tag", sa.String(64), nullable=False),
        sa.Column("room_id", BigId, sa.ForeignKey("equipment_rooms.id")),
        sa.Column("keeper_id", BigId, sa.ForeignKey("users.id", ondelete="SET NULL")),
        sa.Column("keeper_phone", sa.String(32)),
        sa.Column("details", JSONValue, nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.UniqueConstraint("inspection_id", "tag"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "equipment_checks",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("inspection_id", BigId, sa.ForeignKey("inspections.id", ondelete="CASCADE"), nullable=False),
        sa.Column("client_id", sa.String(36), unique=True),
        sa.Column("item_id", BigId, sa.ForeignKey("equipment_items.id", ondelete="CASCADE"), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint("score BETWEEN 0 AND 10", name="score"),
        sqlite_autoincrement=True,
    )
    for table in ("equipment_rooms", "equipment_items", "equipment_checks"):
        op.create_index(f"ix_{table}_inspection_id", table, ["inspection_id"])


def downgrade() -> None:
    op.drop_table("equipment_checks")
    op.drop_table("equipment_items")
    op.drop_table("equipment_rooms")
