"""The texts of inspections in a narrow table, where lists search them; triggers of the database keep it.

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


#: The columns of which the texts are made.
COLUMNS = "notes, job, property, customer"

#: The customer's name, and all texts of an inspection. Between two texts stands U+001F.
SQLITE_TEXTS = """
    coalesce(json_extract({row}.customer, '$.name'), ''),
    coalesce(json_extract({row}.customer, '$.name'), '')
        || char(31) || coalesce({row}.notes, '')
        || char(31) || coalesce({row}.job, '')
        || char(31) || coalesce(json_extract({row}.property, '$.property_name'), '')
        || char(31) || coalesce(json_extract({row}.property, '$.address'), '')
"""

# The letters A to Z first: a Turkish database has another small letter for I.
POSTGRESQL_TEXTS = """
    lower(lower(coalesce({row}.customer ->> 'name', '') COLLATE "C") COLLATE "default"),
    lower(lower(concat_ws(chr(31), {row}.customer ->> 'name', {row}.notes, {row}.job,
        {row}.property ->> 'property_name', {row}.property ->> 'address') COLLATE "C") COLLATE "default")
"""

SQLITE = (
    f"""
    CREATE TRIGGER inspection_texts_insert AFTER INSERT ON inspections BEGIN
        INSERT INTO inspection_texts SELECT NEW.id, {SQLITE_TEXTS.format(row="NEW")};
    END
    """,
    f"""
    CREATE TRIGGER inspection_texts_update AFTER UPDATE OF {COLUMNS} ON inspections BEGIN
        UPDATE inspection_texts SET (customer, texts) = (SELECT {SQLITE_TEXTS.format(row="NEW")})
            WHERE inspection_id = NEW.id;
    END
    """,
    """
    CREATE TRIGGER inspection_texts_delete AFTER DELETE ON inspections BEGIN
        DELETE FROM inspection_texts WHERE inspection_id = OLD.id;
    END
    """,
    f"INSERT INTO inspection_texts SELECT id, {SQLITE_TEXTS.format(row='inspections')} FROM inspections",
)

FUNCTION = "keep_inspection_texts"
CHANGED = " OR ".join(f"OLD.{name} IS DISTINCT FROM NEW.{name}" for name in COLUMNS.split(", "))

# A statement that inserts or deletes many inspections runs one more statement, and not one for each row.
POSTGRESQL = (
    f"""
    CREATE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO inspection_texts SELECT made.id, {POSTGRESQL_TEXTS.format(row="made")} FROM made;
        ELSIF TG_OP = 'DELETE' THEN
            DELETE FROM inspection_texts USING gone WHERE inspection_id = gone.id;
        ELSE
            UPDATE inspection_texts SET (customer, texts) =
                (SELECT {POSTGRESQL_TEXTS.format(row="NEW")}) WHERE inspection_id = NEW.id;
        END IF;
        RETURN NULL;
    END $$
    """,
    f"""
    CREATE TRIGGER inspection_texts_insert AFTER INSERT ON inspections
        REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}()
    """,
    f"""
    CREATE TRIGGER inspection_texts_update AFTER UPDATE OF {COLUMNS} ON inspections
        FOR EACH ROW WHEN ({CHANGED}) EXECUTE FUNCTION {FUNCTION}()
    """,
    f"""
    CREATE TRIGGER inspection_texts_delete AFTER DELETE ON inspections
        REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}()
    """,
    f"INSERT INTO inspection_texts SELECT id, {POSTGRESQL_TEXTS.format(row='inspections')} FROM inspections",
)


def upgrade() -> None:
    op.create_table(
        "inspection_texts",
        sa.Column("inspection_id", ID, autoincrement=False, nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("texts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("inspection_id", name=op.f("pk_inspection_texts")),
    )
    for statement in POSTGRESQL if _is_postgresql() else SQLITE:
        op.execute(statement)


def downgrade() -> None:
    for event in ("insert", "update", "delete"):
        op.execute(f"DROP TRIGGER inspection_texts_{event}" + (" ON inspections" if _is_postgresql() else ""))
    if _is_postgresql():
        op.execute(f"DROP FUNCTION {FUNCTION}()")
    op.drop_table("inspection_texts")


def _is_postgresql() -> bool:
    is_postgresql: bool = op.get_bind().dialect.name == "postgresql"
    return is_postgresql
