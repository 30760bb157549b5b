"""Placeholder until the storage is there."""

from typing import Any


def open_storage(settings: Any) -> Any:
    """Placeholder."""
