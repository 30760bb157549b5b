"""First tables.

Revision ID: 0001
Revises:
"""

import secrets

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=3), "postgresql")


def upgrade() -> None:
    # The database itself notes which transaction wrote a ledger row, so that no code can forget it.
    postgres = op.get_bind().dialect.name == "postgresql"
    transaction = sa.text("(pg_current_xact_id()::text::bigint)" if postgres else "0")
    op.create_table(
        "attachments",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("inspection_id", ID, nullable=False),
        sa.Column("form_fill_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("field_name", sa.String(length=255), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=True),
        sa.Column("content_type", sa.String(length=64), nullable=False),
        sa.Column("byte_size", ID, nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("storage_key", sa.String(length=255), nullable=False),
        sa.Column("uploaded_by_id", ID, nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("kind IN ('photo', 'signature')", name=op.f("ck_attachments_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachments")),
        sa.UniqueConstraint("storage_key", name=op.f("uq_attachments_storage_key")),
        sa.UniqueConstraint("form_fill_id", "position", name=op.f("uq_attachments_form_fill_id_position")),
    )
    op.create_index("ix_attachments_inspection_id", "attachments", ["inspection_id"])
    op.create_table(
        "form_templates",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("form_structure", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_form_templates")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "ledger_entries",
        sa.Column("id", ID, nullable=False),
        sa.Column("xid", sa.BigInteger(), server_default=transaction, nullable=False),
        sa.Column("tag", sa.BigInteger(), nullable=False),
        sa.Column("unit_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("recorded_at", TIME, nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("entity", sa.String(length=64), nullable=False),
        sa.Column("entity_id", sa.String(length=36), nullable=False),
        sa.Column("inspection_id", ID, nullable=True),
        sa.Column("viewer_id", ID, nullable=True),
        sa.Column("version_before", TIME, nullable=True),
        sa.Column("version_after", TIME, nullable=True),
        sa.Column("changes", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_ledger_entries_entity_entity_id_id", "ledger_entries", ["entity", "entity_id", "id"])
    op.create_index("ix_ledger_entries_inspection_id_xid_id", "ledger_entries", ["inspection_id", "xid", "id"])
    op.create_index("ix_ledger_entries_unit_id_position", "ledger_entries", ["unit_id", "position"])
    op.create_index("ix_ledger_entries_viewer_id_xid_id", "ledger_entries", ["viewer_id", "xid", "id"])
    op.create_index("ix_ledger_entries_xid_id", "ledger_entries", ["xid", "id"])
    op.create_table(
        "ledger_operations",
        sa.Column("id", ID, nullable=False),
        sa.Column("xid", sa.BigInteger(), server_default=transaction, nullable=False),
        sa.Column("unit_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("recorded_at", TIME, nullable=False),
        sa.Column("door", sa.String(length=16), nullable=False),
        sa.Column("user_id", ID, nullable=True),
        sa.Column("device_id", sa.String(length=36), nullable=False),
        sa.Column("local_id", sa.String(length=255), nullable=True),
        sa.Column("type", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.Column("entity", sa.String(length=64), nullable=True),
        sa.Column("entity_id", sa.String(length=36), nullable=True),
        sa.Column("version_before", TIME, nullable=True),
        sa.Column("version_after", TIME, nullable=True),
        sa.Column("message", sa.String(length=255), nullable=True),
        sa.Column("result", JSON, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_operations")),
        sa.UniqueConstraint("unit_id", "position", name=op.f("uq_ledger_operations_unit_id_position")),
        sa.UniqueConstraint(
            "user_id",
            "device_id",
            "local_id",
            "fingerprint",
            name=op.f("uq_ledger_operations_user_id_device_id_local_id_fingerprint"),
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_ledger_operations_xid_id", "ledger_operations", ["xid", "id"])
    op.create_table(
        "ledger_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.String(length=32), nullable=False),
        sa.Column("cluster", sa.String(length=32), nullable=False),
        sa.Column("pruned_xid", sa.BigInteger(), nullable=False),
        sa.Column("pruned_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_state")),
    )
    op.create_table(
        "users",
        sa.Column("id", ID, nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("role IN ('admin', 'technician', 'user')", name=op.f("ck_users_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "inspections",
        sa.Column("id", ID, nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("system_category", sa.String(length=255), nullable=True),
        sa.Column("interval_category", sa.String(length=255), nullable=True),
        sa.Column("job", sa.String(length=255), nullable=True),
        sa.Column("property", JSON, nullable=True),
        sa.Column("customer", JSON, nullable=True),
        sa.Column("form_template_id", ID, nullable=True),
        sa.Column("owner_id", ID, nullable=False),
        sa.Column("assignee_id", ID, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'in_progress', 'completed', 'canceled')", name=op.f("ck_inspections_status")
        ),
        sa.ForeignKeyConstraint(["assignee_id"], ["users.id"], name=op.f("fk_inspections_assignee_id_users")),
        sa.ForeignKeyConstraint(
            ["form_template_id"], ["form_templates.id"], name=op.f("fk_inspections_form_template_id_form_templates")
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_inspections_owner_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inspections")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_inspections_assignee_id", "inspections", ["assignee_id"])
    op.create_index("ix_inspections_owner_id", "inspections", ["owner_id"])
    op.create_table(
        "sign_ins",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("device_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_used_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("next_attempt", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sign_ins_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_ins")),
    )
    op.create_index("ix_sign_ins_user_id", "sign_ins", ["user_id"])
    op.create_table(
        "user_syncs",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("last_sync", TIME, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_user_syncs_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_user_syncs")),
    )
    op.create_table(
        "form_fills",
        sa.Column("client_id", sa.String(length=36), nullable=True),
        sa.Column("form_template_id", ID, nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("inspection_id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["form_template_id"], ["form_templates.id"], name=op.f("fk_form_fills_form_template_id_form_templates")
        ),
        sa.ForeignKeyConstraint(
            ["inspection_id"], ["inspections.id"], name=op.f("fk_form_fills_inspection_id_inspections")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_form_fills")),
        sa.UniqueConstraint("client_id", name=op.f("uq_form_fills_client_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_form_fills_inspection_id", "form_fills", ["inspection_id"])

    cluster = sa.text("(SELECT system_identifier::text FROM pg_control_system())") if postgres else ""
    state = sa.table("ledger_state", *map(sa.column, ("id", "generation", "cluster", "pruned_xid", "pruned_id")))
    values = {"id": 1, "generation": secrets.token_hex(16), "cluster": cluster, "pruned_xid": 0, "pruned_id": 0}
    op.execute(state.insert().values(values))


def downgrade() -> None:
    op.drop_table("form_fills")
    op.drop_table("user_syncs")
    op.drop_table("sign_ins")
    op.drop_table("inspections")
    op.drop_table("users")
    op.drop_table("ledger_state")
    op.drop_table("ledger_operations")
    op.drop_table("ledger_entries")
    op.drop_table("form_templates")
    op.drop_table("attachments")
