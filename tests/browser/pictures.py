"""Pictures of every page, with demo data, light and dark, as on a desk and on a phone: `make pictures`.

They go to `build/pictures`. Those of `docs/console.md`, and the one that the README shows, are made anew.
"""

from __future__ import annotations

import os
import tempfile
from io import BytesIO
from pathlib import Path
from uuid import uuid4

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from app import create_app
from app.cli.demo import RESCUE_FILE
from app.cli.demo_story import DEVICE_ID, REPORT
from app.config import API_PREFIX
from app.pages.addresses import is_page_endpoint
from tests.browser.chromium import bring, find
from tests.browser.soundness import DESK, PHONE, SCHEMES
from tests.support.servers import ROOT, demo_password, demo_server

#: Where they go, and where those of the documents are.
PICTURES, STATIC = ROOT / "build" / "pictures", ROOT / "docs" / "_static"

#: The work that the technician's phone sends too late.
ANSWERS = {"Location_row_1": "Loading bay", "Pressure_row_1": 78, "Valve_Open": "yes"}

EMAIL, TECHNICIAN = "admin@example.com", "technician@example.com"

#: Whether the images in the window are loaded. Those below it wait until somebody scrolls.
IMAGES_ARE_THERE = (
    "() => [...document.images].every(image => image.complete || image.getBoundingClientRect().top > innerHeight)"
)

#: Colours of a picture in the documents.
COLOURS = 128


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
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 600})
    page.goto("/console/inspections")
    keep(page, STATIC / "console.png")
    walk(page, directory)


def keep(page: Page, path: Path) -> None:
    """Store what the window shows, in few colours."""
    page.wait_for_function(IMAGES_ARE_THERE)
    picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
    path.parent.mkdir(exist_ok=True)
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def walk(page: Page, directory: Path) -> None:
    """Draw the pictures of `docs/console.md` in its order. What the page tells is done on the way."""
    page.set_viewport_size({"width": 1280, "height": 720})
    _keep(page, "today", "/console/today")
    _keep(page, "inspections", "/console/inspections")
    _keep(page, "inspection", "/console/inspections/2#row-form_fill-2")
    _keep(page, "history", "/console/inspections/2/history?entity=form_fill&key=2")
    _keep(page, "correct", "/console/inspections/2/rows/form_fill/2/correct")
    page.goto("/console/conflicts")
    page.locator("[data-row]").click()
    page.locator("fieldset").first.wait_for()
    page.set_viewport_size({"width": 1280, "height": 1020})
    keep(page, STATIC / "console" / "conflict.png")
    page.set_viewport_size({"width": 1280, "height": 720})
    _take_away_and_send(page, demo_password(directory, TECHNICIAN))
    _keep(page, "set-aside", "/console/set-aside")
    page.locator("[data-row]").first.click()
    page.get_by_role("button", name="Apply as sent").wait_for()
    keep(page, STATIC / "console" / "set-aside-item.png")
    _read_in(page, directory)
    _keep(page, "devices", "/console/devices")
    _keep(page, "sync-health", "/console/sync-health")
    _keep(page, "form-designer", "/console/form-templates/1/new-version")
    _keep(page, "users", "/console/users")
    page.set_viewport_size({"width": 360, "height": 640})
    _keep(page, "phone", "/console/inspections")


def _keep(page: Page, name: str, address: str) -> None:
    page.goto(address)
    keep(page, STATIC / "console" / f"{name}.png")


def _read_in(page: Page, directory: Path) -> None:
    page.goto("/console/rescue")
    page.get_by_label("File that the app has saved").set_input_files(directory / RESCUE_FILE)
    page.get_by_role("button", name="Read in the file").click()
    page.get_by_role("status").wait_for()
    keep(page, STATIC / "console" / "rescue.png")


def _take_away_and_send(page: Page, password: str) -> None:
    """Give the first inspection to nobody; then the technician's phone, which does not know it, sends work for it."""
    page.goto("/console/inspections?sort=date")
    page.locator("[data-choice]").first.check()
    page.get_by_label("Assign to", exact=True).select_option("none")
    page.get_by_role("button", name="Assign the chosen").click()
    page.get_by_role("status").wait_for()
    device = {"email": TECHNICIAN, "password": password, "device_id": DEVICE_ID}
    token = page.request.post(f"{API_PREFIX}/auth/login", data=device).json()["access_token"]
    item = {"type": "form_fill", "local_id": str(uuid4()), "data": {"id": 1, "data": ANSWERS}}
    body = {"sync_items": [item], "device": dict(REPORT)}
    answer = page.request.post(f"{API_PREFIX}/sync", data=body, headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["results"]["errors"], answer.text()


def main() -> None:
    """Draw all pages of a server with demo data."""
    program = find() or bring()
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, demo_server(Path(name)) as server, sync_playwright() as playwright:
        variables: dict[str, str | float | bool] = {**os.environ, **program.environment}
        draw(playwright.chromium.launch(executable_path=program.program, env=variables), server, Path(name))


if __name__ == "__main__":
    main()
