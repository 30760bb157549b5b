"""The one blueprint of the console, on which each module of pages registers its views."""

from flask import Blueprint

blueprint = Blueprint("console", "fieldpost_console", template_folder="templates", static_folder="static")

#: The largest id of a row.
MOST_ID = 2**63 - 1

#: The address of one inspection.
ONE = f"/inspections/<int(max={MOST_ID}):inspection_id>"
