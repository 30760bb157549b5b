"""One of two first migrations."""

revision = "0001"
down_revision = None
