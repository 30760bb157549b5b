"""The pages of the console, a module a subject, and their menu."""

from app.plugin_api import MenuEntry
from fieldpost_console.pages import inspections
from fieldpost_console.pages.blueprint import blueprint

__all__ = ["MENU", "blueprint", "inspections"]

#: In the order of the menu. Labels are translated where they are shown.
MENU = (MenuEntry(label="Inspections", endpoint="console.inspections"),)
