"""The page of the complete example, as an author of pages sees it in the menu."""

from __future__ import annotations

from uuid import uuid4

from playwright.sync_api import expect

from app.testing import sign_in as sign_in_client
from tests.browser.conftest import Open
from tests.browser.sites import Site
from tests.browser.soundness import go_to, page_is_sound


def test_equipment_is_found_by_its_tag(site: Site, open_browser: Open) -> None:
    tech = site.user()
    device, inspection = sign_in_client(site.app, tech), site.world.inspection(site.user("user"), tech)
    page = open_browser(tech)
    for tag in ("P-1", "V-<b>2</b>", "A" * 64):
        item = {"local_id": str(uuid4()), "type": "equipment", "data": {"inspection_id": inspection.id, "tag": tag}}
        bearer = {"Authorization": device.environ_base["HTTP_AUTHORIZATION"]}
        answer = page.request.post("/api/v1/sync", data={"sync_items": [item]}, headers=bearer)
        assert len(answer.json()["results"]["success"]) == 1, answer.text()
    page.goto("/")
    page.get_by_role("link", name="Equipment").click()
    expect(page).to_have_title("Equipment · Fieldpost")
    expect(page.get_by_role("row")).to_have_count(4)
    page_is_sound(page)
    go_to(page, page.get_by_label("Tag"))
    page.keyboard.type("<B>")
    page.keyboard.press("Enter")
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("cell", name="V-<b>2</b>")).to_be_visible()
