"""The OpenAPI document, made of the application's rules, its views' docstrings and their `@described`.

Nothing is listed by hand. Every route of the application is in the document, plugins' routes too, with the sign-in and
the errors that hold for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from flask import Flask

from app.core.values import JsonObject
from app.openapi.components import Components
from app.openapi.introduction import INTRODUCTION
from app.openapi.operation import Route, methods_of, operation_of
from app.pages.addresses import is_page_endpoint

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The access token."},
    "refresh_token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The refresh token."},
    "metrics_token": {"type": "http", "scheme": "bearer", "description": "`FIELDPOST_METRICS_TOKEN`."},
}

INFO = {
    "title": "Fieldpost",
    "version": "v1",
    "description": INTRODUCTION,
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}

#: The subjects that authors of apps read first.
FIRST_TAGS = ("auth", "sync")

#: An argument in a Flask rule, such as `<int:number>`.
ARGUMENT = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")


def make_document(app: Flask) -> JsonObject:
    """The document of an application, as JSON values. Needs an application context."""
    components = Components()
    paths: JsonObject = {}
    for route in _routes(app):
        address = ARGUMENT.sub(r"{\1}", route.rule.rule)
        paths.setdefault(address, {})[route.method.lower()] = operation_of(route, components)
    return {
        "openapi": "3.1.0",
        "info": INFO,
        "servers": [{"url": "/"}],
        "tags": list(_tags(app)),
        "paths": paths,
        "components": {**components.write(), "securitySchemes": SCHEMES},
    }


def _routes(app: Flask) -> Iterator[Route]:
    """All routes but the pages, which are for people."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        for method in methods_of(rule) if not is_page_endpoint(rule.endpoint) else ():
            yield Route(rule, method, app.view_functions[rule.endpoint])


def _tags(app: Flask) -> Iterator[dict[str, str]]:
    yield from ({"name": name} for name in FIRST_TAGS)
    for name, blueprint in app.blueprints.items():
        description = getattr(blueprint, "description", "")
        if description:
            yield {"name": name, "description": description}
