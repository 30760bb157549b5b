"""How Sphinx makes a site of these pages: `make docs`."""

from __future__ import annotations

import re

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx
from sphinx.highlighting import lexers

project = "Fieldpost"
language = "en"
extensions = ["myst_parser"]

# Links to a heading work as they do on a forge: [settings](operating.md#settings).
myst_heading_anchors = 4

html_theme = "furo"
html_title = "Fieldpost"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
# `make docs` fetches mermaid. Without it, and without scripts, a reader sees the text of a diagram.
html_js_files = ["mermaid.min.js", "diagrams.js"]
html_copy_source = False
html_show_copyright = False

# Pygments knows no mermaid, and no request without its HTTP version.
lexers["mermaid"] = TextLexer()
suppress_warnings = ["misc.highlighting_failure"]


#: A link to a file outside this directory.
LINK_OUT = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")


def fit_links(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Let links to the README lead to the start page, which shows it. Of other links out of the site, keep the text."""
    source[0] = LINK_OUT.sub(r"\1", source[0].replace("](../README.md", "](index.md"))


def setup(app: Sphinx) -> None:
    """Connect the function above to Sphinx, which calls this one."""
    app.connect("source-read", fit_links)
