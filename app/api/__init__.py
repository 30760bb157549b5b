"""REST: inspections, form fills, form templates, users, attachments, health (contract, sections 4, 8 and 9)."""

from __future__ import annotations

from flask import Flask

from app.api import attachments, form_fills, form_templates, history, inspections, offline_data, users
from app.api.blueprint import RowIdConverter
from app.core.database.engine import api
from app.openapi import routes as openapi

#: Described by flask-smorest.
DESCRIBED = (
    users.blueprint,
    form_templates.blueprint,
    inspections.blueprint,
    form_fills.blueprint,
    offline_data.blueprint,
    history.blueprint,
)

#: Plain Flask routes.
PLAIN = (attachments.blueprint, openapi.blueprint)


def register_api(app: Flask, prefix: str) -> None:
    """Register the REST blueprints below `prefix`, and give them to flask-smorest."""
    app.url_map.converters["row_id"] = RowIdConverter
    openapi.bind_api(app)
    for described in DESCRIBED:
        api.register_blueprint(described, url_prefix=prefix)
    for plain in PLAIN:
        app.register_blueprint(plain, url_prefix=prefix)
