"""The pages of the console, a module a subject, and their menu."""

from app import policies
from app.plugin_api import MenuEntry
from fieldpost_console.pages import (
    assigning,
    audit,
    conflicts,
    correction,
    counts,
    deciding_many,
    devices,
    ending,
    exports,
    form_designer,
    form_json,
    form_templates,
    inspection,
    inspections,
    new_inspection,
    pictures,
    plugins,
    rescue,
    set_aside,
    today,
    users,
)
from fieldpost_console.pages.blueprint import blueprint
from fieldpost_console.pages.counts import menu_counts

__all__ = [
    "MENU",
    "PLACES",
    "assigning",
    "audit",
    "blueprint",
    "conflicts",
    "correction",
    "counts",
    "deciding_many",
    "devices",
    "ending",
    "exports",
    "form_designer",
    "form_json",
    "form_templates",
    "inspection",
    "inspections",
    "menu_counts",
    "new_inspection",
    "pictures",
    "plugins",
    "rescue",
    "set_aside",
    "today",
    "users",
]

#: Where links of mails lead.
PLACES = {"late_device": "console.devices", "set_aside": "console.set_aside_item"}

#: In the order of the menu. Labels are translated where they are shown.
MENU = (
    MenuEntry(label="Today", endpoint="console.today"),
    MenuEntry(label="Inspections", endpoint="console.inspections"),
    MenuEntry(label="Conflicts", endpoint="console.conflicts"),
    MenuEntry(label="Set aside", endpoint="console.set_aside"),
    MenuEntry(label="Devices", endpoint="console.devices"),
    MenuEntry(label="Sync health", endpoint="console.health", who=policies.is_admin),
    MenuEntry(label="Form templates", endpoint="console.form_templates", who=policies.is_admin),
    MenuEntry(label="Users", endpoint="console.users", who=policies.is_admin),
    MenuEntry(label="Audit log", endpoint="console.audit_log", who=policies.is_admin),
    MenuEntry(label="Plugins", endpoint="console.plugins", who=policies.is_admin),
)
