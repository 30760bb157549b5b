"""Pictures of every page, with demo data, light and dark, as on a desk and on a phone: `make pictures`.

They go to `build/pictures`; `docs/_static/console.png`, which the README shows, is made anew.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from app import create_app
from app.pages.addresses import is_page_endpoint
from tests.browser.chromium import bring, find
from tests.browser.soundness import DESK, PHONE, SCHEMES
from tests.support.servers import ROOT, demo_password, demo_server

#: Where they go, and the one that the README shows.
PICTURES, OF_README = ROOT / "build" / "pictures", ROOT / "docs" / "_static" / "console.png"

EMAIL = "admin@example.com"


def addresses(directory: Path) -> list[str]:
    """The addresses of all pages that a person may look at, those of the first row of each kind."""
    app = create_app({"FIELDPOST_DATA_DIR": str(directory), "DATABASE_URL": ""})
    with app.test_request_context():
        adapter = app.url_map.bind("localhost")
        rules = [
            rule
            for rule in app.url_map.iter_rules()
            if is_page_endpoint(rule.endpoint)
            and "GET" in (rule.methods or ())
            and rule.rule not in ("/", "/sign-in")
            and all(hasattr(rule._converters[name], "num_convert") for name in rule.arguments)
        ]
    return sorted(adapter.build(rule.endpoint, dict.fromkeys(rule.arguments, 1)) for rule in rules)


def draw(browser: Browser, server: str, directory: Path) -> None:
    """Sign in with the demo's administrator, and draw each page."""
    page = browser.new_context(base_url=server, reduced_motion="reduce").new_page()
    page.goto("/sign-in")
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(demo_password(directory, EMAIL))
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()
    for address in addresses(directory):
        answer = page.request.get(address)
        if answer.ok and answer.headers["content-type"].startswith("text/html"):
            page.goto(address)
            for width, height in (PHONE, DESK):
                page.set_viewport_size({"width": width, "height": height})
                for scheme in SCHEMES:
                    page.emulate_media(color_scheme=scheme)
                    name = f"{address.strip('/').replace('/', '-')}-{width}-{scheme}.png"
                    page.screenshot(path=PICTURES / name, full_page=True)
    page.set_viewport_size({"width": 1280, "height": 600})
    page.emulate_media(color_scheme="light")
    page.goto("/")
    page.screenshot(path=OF_README)


def main() -> None:
    """Draw all pages of a server with demo data."""
    program = find() or bring()
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, demo_server(Path(name)) as server, sync_playwright() as playwright:
        variables: dict[str, str | float | bool] = {**os.environ, **program.environment}
        draw(playwright.chromium.launch(executable_path=program.program, env=variables), server, Path(name))


if __name__ == "__main__":
    main()
