"""REST: inspections, form fills, form templates, users, attachments, health (contract, sections 4, 8 and 9)."""

from __future__ import annotations

from flask import Flask

from app.api import attachments, form_fills, form_templates, inspections, openapi, users
from app.extensions import api

#: Described by flask-smorest.
DESCRIBED = (users.blueprint, form_templates.blueprint, inspections.blueprint, form_fills.blueprint)

#: Plain Flask routes.
PLAIN = (attachments.blueprint, openapi.blueprint)


def register_api(app: Flask, prefix: str) -> None:
    """Bind flask-smorest and register the REST blueprints below `prefix`."""
    openapi.bind_api(app)
    for described in DESCRIBED:
        api.register_blueprint(described, url_prefix=prefix)
    for plain in PLAIN:
        app.register_blueprint(plain, url_prefix=prefix)
