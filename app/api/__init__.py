"""REST: inspections, form fills, form templates, users, attachments, health (contract, sections 4, 8 and 9)."""

from __future__ import annotations

from flask import Flask

from app.api import attachments


def register_api(app: Flask, prefix: str) -> None:
    """Register the REST blueprints below `prefix`."""
    app.register_blueprint(attachments.blueprint, url_prefix=prefix)
