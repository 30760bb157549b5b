"""The designer of forms, by mouse and by keyboard."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from app.models import FormTemplate
from tests.browser.conftest import Open
from tests.browser.sites import Site
from tests.browser.soundness import go_to, page_is_sound
from tests.browser.work import STRUCTURE


def newest(site: Site) -> FormTemplate:
    """The template that was saved last."""
    found: FormTemplate = site.world.all(FormTemplate)[-1]
    return found


def press(page: Page, button: str) -> None:
    """Go to a button with the Tab key, and press it."""
    go_to(page, page.get_by_role("button", name=button))
    page.keyboard.press("Enter")


def test_a_form_is_designed_by_keyboard(site: Site, open_browser: Open) -> None:
    page = open_browser(site.user("admin"))
    page.goto("/console/form-templates/new")
    go_to(page, page.get_by_label("Name", exact=True))
    page.keyboard.type("Lift by keys")
    go_to(page, page.get_by_role("group", name="Field 1").get_by_label("Label"))
    page.keyboard.type("Door shuts?")
    go_to(page, page.get_by_role("group", name="Field 1").get_by_label("Type"))
    page.keyboard.type("one from")
    go_to(page, page.get_by_role("group", name="Field 1").get_by_label("Options"))
    page.keyboard.type("yes")
    page.keyboard.press("Enter")
    page.keyboard.type("no")
    press(page, "Add a field")
    second = page.get_by_role("group", name="Field 2")
    expect(second.get_by_label("Label")).to_be_focused()
    page.keyboard.type("Load (kg)")
    press(page, "Up Field 2")
    expect(page.get_by_role("group", name="Field 1: Load (kg)")).to_be_visible()
    expect(page.get_by_role("button", name="Down Field 1")).to_be_focused()
    press(page, "Add a field")
    expect(page.get_by_role("group", name="Field 3").get_by_label("Label")).to_be_focused()
    press(page, "Save the template")
    expect(page.get_by_role("alert")).to_be_focused()
    page_is_sound(page)
    press(page, "Remove Field 3")
    expect(page.get_by_role("group", name="Field 3")).to_have_count(0)
    press(page, "Save the template")
    expect(page.get_by_role("status")).to_contain_text("The form template is saved.")
    assert [field["name"] for field in newest(site).form_structure] == ["Load_kg", "Door_shuts"]
    assert newest(site).form_structure[1]["options"] == ["yes", "no"]


def test_a_new_version_is_made_with_the_mouse_and_the_older_one_stays(site: Site, open_browser: Open) -> None:
    older = site.world.template(name="Riser, old", form_structure=STRUCTURE)
    page = open_browser(site.user("admin"))
    page.goto("/console/form-templates?q=Riser%2C+old")
    page.get_by_role("link", name="Riser, old").click()
    page.get_by_role("link", name="New version").click()
    page.get_by_label("Name", exact=True).fill("Riser, new")
    page.get_by_role("button", name="Down Field 1").click()
    page.get_by_role("group", name="Field 1").get_by_label("Label").fill("Pressure at rest")
    page.get_by_role("button", name="Update the preview").click()
    expect(page.get_by_role("region", name="Preview").get_by_text("Pressure at rest")).to_be_visible()
    page.get_by_role("button", name="Save the template").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Riser, new")
    assert [field["name"] for field in newest(site).form_structure][:2] == ["Pressure", "Location"]
    assert site.world.get(FormTemplate, older.id).form_structure == STRUCTURE
