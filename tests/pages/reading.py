"""A page as a browser reads it, for rules that hold on every page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

#: Attributes whose value is an address.
ADDRESSES = frozenset({"src", "href", "action", "formaction", "poster", "srcset", "data"})

#: An attribute that no template has: it is an element's only if a text of somebody has become markup.
INJECTED = "data-injected"


class Reading(HTMLParser):
    """Everything on a page that must not be there."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self._form: dict[str, bool] | None = None
        self.headings = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at an element and its attributes."""
        values = {name: value or "" for name, value in attrs}
        self.headings += tag == "h1"
        if tag == "style" or (tag == "script" and "src" not in values):
            self._find(tag, values)
        if any(name == "style" or name.startswith("on") or name == INJECTED for name in values):
            self._find(tag, values)
        if any(not is_own_address(values[name]) for name in ADDRESSES & values.keys()):
            self._find(tag, values)
        if tag == "form" and values.get("method", "get").lower() == "post":
            self._form = {"has_token": False}
        elif self._form is not None and values.get("name") == "csrf_token":
            self._form["has_token"] = bool(values.get("value"))

    def handle_endtag(self, tag: str) -> None:
        """At the end of a form, look whether it had its token."""
        if tag == "form" and self._form is not None:
            if not self._form["has_token"]:
                self.faults.append("a form without its token")
            self._form = None

    def _find(self, tag: str, values: dict[str, str]) -> None:
        self.faults.append(f"<{tag} {values}>")


def is_own_address(address: str) -> bool:
    """Whether an address is one of this server, or none that is fetched."""
    return bool(re.match(r"(/(?![/\\])|[#?]|$|mailto:|tel:|data:image/)", address))
