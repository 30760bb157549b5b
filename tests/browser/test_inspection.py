"""One inspection: its pictures, its history, and corrections, by mouse and by keyboard."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from app.models import User
from tests.browser.conftest import Open
from tests.browser.sites import Site
from tests.browser.soundness import go_to, page_is_sound
from tests.browser.work import Work, begin


@pytest.fixture
def admin(site: Site) -> User:
    return site.user("admin", name="Ada Office")


def open_form(page: Page, work: Work) -> None:
    """Open the form in which the work's answers are corrected."""
    page.goto(f"/console/inspections/{work.inspection.id}/rows/form_fill/{work.form.id}/correct")


def test_pictures_open_over_the_page_by_mouse_and_by_keyboard(site: Site, open_browser: Open, admin: User) -> None:
    work = begin(site, "Picture House")
    work.take_photos(2)
    page = open_browser(admin)
    page.goto("/console/inspections?q=Picture")
    page.get_by_role("link", name="Picture House").click()
    # Before the page's script has run, a picture's link leads to the picture itself.
    page.wait_for_url(f"**/console/inspections/{work.inspection.id}")
    pictures, dialog = page.locator("[data-picture]"), page.get_by_role("dialog", name="Picture")
    pictures.first.click()
    picture = dialog.get_by_role("img", name="Photo of the riser, 1 of 2")
    expect(picture).to_be_visible()
    assert picture.evaluate("each => each.decode().then(() => each.naturalWidth)") == 64
    page_is_sound(page)
    dialog.get_by_role("button", name="Next").click()
    expect(dialog.get_by_role("img", name="Photo of the riser, 2 of 2")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    expect(pictures.last).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowLeft")
    expect(dialog.get_by_role("img", name="Photo of the riser, 1 of 2")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(pictures.first).to_be_focused()


def test_a_value_is_corrected_by_keyboard_and_the_history_tells_it(site: Site, open_browser: Open, admin: User) -> None:
    work = begin(site, "Corrected House")
    work.send(work.edit(Location="Cellar"))
    page = open_browser(admin)
    page.goto(f"/console/inspections/{work.inspection.id}")
    go_to(page, page.get_by_role("link", name="Correct Riser of Corrected House"))
    page.keyboard.press("Enter")
    go_to(page, page.get_by_label("Static pressure"))
    page.keyboard.press("Control+A")
    page.keyboard.type("ninety")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_focused()
    page_is_sound(page)
    go_to(page, page.get_by_role("link", name="Static pressure: This is not a number."))
    page.keyboard.press("Enter")
    expect(page.get_by_label("Static pressure")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("90")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("1 value was corrected.")
    assert work.answers["Pressure"] == 90
    page.get_by_role("link", name="History of Riser of Corrected House").click()
    newest = page.get_by_role("listitem").first
    expect(newest).to_contain_text("Ada Office, corrected in the office")
    expect(newest.get_by_role("insertion")).to_contain_text("90")
    page.get_by_label("Compare the version of").select_option(index=2)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("row")).to_have_count(3)
    expect(page.get_by_role("row").filter(has_text="Location")).to_contain_text("Cellar")


def test_the_slower_one_of_two_supervisors_keeps_what_was_typed(site: Site, open_browser: Open, admin: User) -> None:
    work = begin(site, "Both Correct")
    slow, fast = open_browser(admin), open_browser(site.user("admin", name="Berta Office"))
    open_form(slow, work)
    open_form(fast, work)
    fast.get_by_label("Location").fill("Left of the door")
    fast.get_by_role("button", name="Save the correction").click()
    expect(fast.get_by_role("status")).to_have_text("1 value was corrected.")
    slow.get_by_label("Location").fill("Right of the door")
    slow.get_by_label("Valve").select_option("shut")
    slow.get_by_role("button", name="Save the correction").click()
    expect(slow.get_by_role("alert")).to_be_focused()
    expect(slow.get_by_role("alert")).to_contain_text("Berta Office")
    expect(slow.get_by_label("Location")).to_have_value("Right of the door")
    expect(slow.get_by_label("Location")).to_have_accessible_description(
        "Before Entrance On the server now Left of the door"
    )
    expect(slow.get_by_label("Valve")).to_have_value('"shut"')
    assert work.answers["Location"] == "Left of the door"
    page_is_sound(slow)
    slow.get_by_role("button", name="Save the correction").click()
    expect(slow.get_by_role("status")).to_have_text("2 values were corrected.")
    assert (work.answers["Location"], work.answers["Valve"]) == ("Right of the door", "shut")


def test_technicians_and_owners_see_their_inspection_and_correct_it(site: Site, open_browser: Open) -> None:
    work = begin(site, "Own House")
    for user in (work.owner, work.technician):
        page = open_browser(user)
        page.goto(f"/console/inspections/{work.inspection.id}")
        expect(page.get_by_role("link", name="Delete")).to_have_count(0)
        open_form(page, work)
        page.get_by_label("Location").fill(f"By {user.name}")
        page.get_by_role("button", name="Save the correction").click()
        expect(page.get_by_role("status")).to_have_text("1 value was corrected.")
    stranger = open_browser(site.user())
    stranger.goto(f"/console/inspections/{work.inspection.id}")
    expect(stranger.get_by_text("Own House")).to_have_count(0)
