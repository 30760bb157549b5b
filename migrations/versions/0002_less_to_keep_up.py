"""Less to keep up with each change: no index that nothing reads, and room beside rows that change often.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

#: Tables whose rows change often. In the room that is left a new version fits beside the old one, and PostgreSQL then
#: adds nothing to the table's indexes.
CHANGING = ("form_fills", "inspections")


def upgrade() -> None:
    _keep_writers_out()
    seen = sa.text("viewer_id IS NOT NULL")
    op.create_index(
        "ix_ledger_entries_sight",
        "ledger_entries",
        ["viewer_id", "xid", "id"],
        postgresql_where=seen,
        sqlite_where=seen,
    )
    op.drop_index("ix_ledger_entries_viewer_id_xid_id", "ledger_entries")
    op.drop_index("ix_ledger_entries_unit_id_position", "ledger_entries")
    op.drop_index("ix_ledger_operations_xid_id", "ledger_operations")
    if op.get_bind().dialect.name == "postgresql":
        for table in CHANGING:
            op.execute(f"ALTER TABLE {table} SET (fillfactor = 70)")


def _keep_writers_out() -> None:
    """Lock both tables before anything is done, in the order in which requests write them: else an upgrade beside a
    server at work would hold the one and wait for the other, and be given up as a deadlock."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("LOCK TABLE ledger_operations, ledger_entries IN ACCESS EXCLUSIVE MODE")


def downgrade() -> None:
    _keep_writers_out()
    if op.get_bind().dialect.name == "postgresql":
        for table in CHANGING:
            op.execute(f"ALTER TABLE {table} RESET (fillfactor)")
    op.create_index("ix_ledger_operations_xid_id", "ledger_operations", ["xid", "id"])
    op.create_index("ix_ledger_entries_unit_id_position", "ledger_entries", ["unit_id", "position"])
    op.create_index("ix_ledger_entries_viewer_id_xid_id", "ledger_entries", ["viewer_id", "xid", "id"])
    op.drop_index("ix_ledger_entries_sight", "ledger_entries")
