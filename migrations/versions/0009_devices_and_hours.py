"""Devices with their reports, and the counts of each hour.

Revision ID: 0009
Revises: 0008
"""

from uuid import UUID, uuid5

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TIME = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")

#: The namespace of the ids of devices.
DEVICES = UUID("5b0c8a3e-52a4-4c53-9d1c-0e0f5a8e7d41")

COUNTS = (
    *("batches", "applied", "replayed", "conflicts"),
    *("forbidden", "invalid", "not_found", "invalid_type", "handler_failed", "refused_otherwise"),
    *(f"delay_{number}" for number in range(1, 9)),
)


def upgrade() -> None:
    devices = op.create_table(
        "devices",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("device_id", sa.String(length=36), nullable=False),
        sa.Column("reported_at", TIME, nullable=True),
        sa.Column("last_batch_at", TIME, nullable=True),
        *(sa.Column(name, sa.String(length=255), nullable=True) for name in ("app", "app_version", "platform", "name")),
        sa.Column("waiting_items", sa.BigInteger(), nullable=True),
        sa.Column("waiting_photos", sa.BigInteger(), nullable=True),
        sa.Column("waiting_bytes", sa.BigInteger(), nullable=True),
        sa.Column("oldest_waiting_at", TIME, nullable=True),
        sa.Column("set_aside", sa.BigInteger(), nullable=True),
        sa.Column("storage_used", sa.BigInteger(), nullable=True),
        sa.Column("persisted", sa.Boolean(), nullable=True),
        sa.Column("clock_offset_ms", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.String(length=500), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_devices_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
    )
    op.create_index("ix_devices_user_id", "devices", ["user_id"])
    known = op.get_bind().execute(
        sa.text("SELECT DISTINCT user_id, device_id FROM sign_ins WHERE device_id IS NOT NULL")
    )
    rows = [
        {"id": str(uuid5(DEVICES, f"{user_id}/{device_id}")), "user_id": user_id, "device_id": device_id}
        for user_id, device_id in known
    ]
    op.bulk_insert(devices, rows)
    op.create_table(
        "sync_hours",
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("hour", TIME, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_hours")),
    )
    op.create_index("ix_sync_hours_hour", "sync_hours", ["hour"])


def downgrade() -> None:
    op.drop_table("sync_hours")
    op.drop_table("devices")
