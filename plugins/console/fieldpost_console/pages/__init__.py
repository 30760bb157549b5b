"""The pages of the console, a module a subject, and their menu."""

from app.plugin_api import MenuEntry
from fieldpost_console.pages import assigning, correction, ending, inspection, inspections, new_inspection, pictures
from fieldpost_console.pages.blueprint import blueprint

__all__ = [
    "MENU",
    "assigning",
    "blueprint",
    "correction",
    "ending",
    "inspection",
    "inspections",
    "new_inspection",
    "pictures",
]

#: In the order of the menu. Labels are translated where they are shown.
MENU = (MenuEntry(label="Inspections", endpoint="console.inspections"),)
