"""`GET /api/v1/`: what a client may count on, before it signs in (contract, section 0)."""

from __future__ import annotations

from importlib.metadata import version

from flask import Response, jsonify

from app.config import Settings, current_settings
from app.core.host.registry import Registry, current_registry
from app.core.values import JsonObject
from app.feed.routes import MAX_LIMIT
from app.openapi.shapes import BOOLEAN, COUNT, TEXT, TRUE, array_of, obj, with_description
from app.web import RestBlueprint, described, public

blueprint = RestBlueprint("root", __name__, description="What this server is and can do")

VERSION = version("fieldpost")

#: The version of the contract.
API = 1

#: The abilities of the core. A setting takes `field_inspections` away, and plugins add to it: an ability that no
#: installed plugin brings is false.
ABILITIES = {"merge": True, "field_inspections": True, "resumable_uploads": False}

#: The settings that are limits of requests.
LIMITS = (
    *("max_batch_items", "max_batch_bytes", "max_public_bytes", "max_photo_bytes", "max_photo_pixels"),
    *("max_form_bytes", "max_template_fields", "max_template_options", "max_json_depth"),
)


@blueprint.get("/")
@public
@described(
    answer=obj(
        success=TRUE,
        name=TEXT,
        version=with_description(TEXT, "Of the server."),
        api=with_description({"type": "integer", "const": API}, "Of the contract."),
        limits=with_description(
            obj(**dict.fromkeys((*LIMITS, "max_changes"), COUNT)),
            "What a request may have; one over a limit is answered with 413, or with 400 for `max_changes`.",
        ),
        abilities=with_description(
            {**obj(**dict.fromkeys(ABILITIES, BOOLEAN)), "additionalProperties": BOOLEAN},
            "What the server and its plugins can do beside the types.",
        ),
        types=with_description(array_of(TEXT), "The operation types; `GET /sync/types` describes them."),
    )
)
def describe_server() -> Response:
    """The server's version, limits, abilities and operation types."""
    registry = current_registry()
    return jsonify(
        {
            "success": True,
            "name": "Fieldpost",
            "version": VERSION,
            "api": API,
            "limits": _limits(current_settings()),
            "abilities": _abilities(registry),
            "types": sorted(registry.handlers),
        }
    )


def _limits(settings: Settings) -> JsonObject:
    return {**{name: getattr(settings, name) for name in LIMITS}, "max_changes": MAX_LIMIT}


def _abilities(registry: Registry) -> JsonObject:
    own = ABILITIES | {"field_inspections": bool(current_settings().field_inspections)}
    announced = {name for plugin in registry.plugins.values() for name in plugin.abilities}
    return own | dict.fromkeys(sorted(announced), True)
