"""The supervisor's console: pages on everything that Fieldpost knows."""

from app.plugin_api import Pages, Plugin
from fieldpost_console.pages import MENU, PLACES, blueprint, menu_counts

plugin = Plugin(
    name="console", api_version=1, pages=Pages(blueprint=blueprint, menu=MENU, counts=menu_counts, places=PLACES)
)
