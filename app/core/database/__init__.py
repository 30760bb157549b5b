"""The database in one place: how it is opened, begun, read and written, on SQLite and on PostgreSQL."""
