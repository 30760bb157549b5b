"""REST: inspections, form fills, form templates, users, attachments, health (contract, sections 4, 8 and 9)."""

from __future__ import annotations

from flask import Flask

from app.api import (
    attachments,
    audit,
    devices,
    form_fills,
    form_templates,
    history,
    inspections,
    offline_data,
    rescue,
    root,
    set_aside,
    users,
)
from app.api.blueprint import RowIdConverter, RowKeyConverter, refuse_wrong_ids
from app.openapi import routes as openapi

BLUEPRINTS = (
    root.blueprint,
    users.blueprint,
    devices.blueprint,
    form_templates.blueprint,
    inspections.blueprint,
    form_fills.blueprint,
    offline_data.blueprint,
    history.blueprint,
    attachments.blueprint,
    set_aside.blueprint,
    rescue.blueprint,
    audit.blueprint,
    openapi.blueprint,
)


def register_api(app: Flask, prefix: str) -> None:
    """Register the REST blueprints below `prefix`."""
    app.url_map.converters |= {"row_id": RowIdConverter, "row_key": RowKeyConverter}
    app.before_request(refuse_wrong_ids)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint, url_prefix=prefix)
