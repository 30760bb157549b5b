"""Stub by the lead so that imports work; replaced whole by its author."""

from datetime import UTC, datetime

from app.clock import cut


def parse_timestamp(text: str) -> datetime:
    """Stub."""
    moment = datetime.fromisoformat(text)
    return cut((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC))
