"""The one blueprint of the console, on which each module of pages registers its views."""

from flask import Blueprint

blueprint = Blueprint("console", "fieldpost_console", template_folder="templates", static_folder="static")
