"""One of two first migrations."""

revision = "0002"
down_revision = None
