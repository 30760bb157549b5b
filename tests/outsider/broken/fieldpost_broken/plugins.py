"""Plugins that do not fit, each for one reason."""

from typing import Any

import click
from flask import Blueprint

from app.plugin_api import Plugin


def plugin(name: str, **parts: Any) -> Plugin:
    return Plugin(name=name, **{"api_version": 1, **parts})


def view(**_: Any) -> dict[str, Any]:
    return {}


def blueprint(name: str, address: str, method: str) -> Blueprint:
    made = Blueprint(name, __name__)
    made.add_url_rule(address, view_func=view, methods=[method])
    return made


def explode(_state: Any) -> None:
    raise ValueError("no such template")


no_plugin = "no plugin"
bad_name = plugin("Bad Name")
newer = plugin("newer", api_version=2)
older = plugin("older", api_version=0)
worded = plugin("worded", api_version="1")
broken = plugin("broken")
healthy = plugin("healthy", migrations="fieldpost_broken.two_heads")
lost = plugin("lost", migrations="fieldpost_broken.nowhere")
wrong_parts = plugin("wrong_parts", blueprint="blueprint", cli=print, collect=lambda days: 0)
route_taken = plugin("route_taken", blueprint=blueprint("route_taken", "/sync", "POST"))
route_alike = plugin("route_alike", blueprint=blueprint("route_alike", "/inspections/<number>", "GET"))
blueprint_taken = plugin("blueprint_taken", blueprint=blueprint("sync", "/broken", "GET"))
exploding = plugin("exploding", blueprint=Blueprint("exploding", __name__))
exploding.blueprint.record(explode)
command_taken = plugin("command_taken", cli=click.Group("users"))
command_of_flask = plugin("command_of_flask", cli=click.Group("routes"))
odd_setting = plugin("odd_setting", settings={"limits": [1, 2]})
login = plugin("login", settings={"rate": 1})
counted = plugin("counted", settings={"most": 3, "ratio": 0.5, "strict": False})
hasty = plugin("hasty", removed={"photo_delete": "Send nothing."})
