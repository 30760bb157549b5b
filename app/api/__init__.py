"""REST: inspections, form fills, form templates, users, attachments, health (contract, sections 4, 8 and 9)."""

from __future__ import annotations

from flask import Flask


def register_api(app: Flask, prefix: str) -> None:
    """Register the REST blueprints below `prefix`."""
