"""The pages of the console, a module a subject, and their menu."""

from app.plugin_api import MenuEntry
from fieldpost_console.pages import assigning, ending, inspections, new_inspection, today
from fieldpost_console.pages.blueprint import blueprint

__all__ = ["MENU", "assigning", "blueprint", "ending", "inspections", "new_inspection", "today"]

#: In the order of the menu. Labels are translated where they are shown.
MENU = (
    MenuEntry(label="Today", endpoint="console.today"),
    MenuEntry(label="Inspections", endpoint="console.inspections"),
)
