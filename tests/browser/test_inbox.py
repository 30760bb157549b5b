"""Conflicts and refused items, decided in the office, by mouse and by keyboard."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from app.models import FormFill, SetAside, User
from tests.browser.conftest import Open
from tests.browser.sites import Site
from tests.browser.soundness import go_to, page_is_sound
from tests.browser.work import Work, begin


@pytest.fixture
def admin(site: Site) -> User:
    return site.user("admin", name="Ada Office")


def open_conflict(page: Page, key: str) -> None:
    page.goto(f"/console/conflicts/{key}")


def expect_conflict(page: Page, key: str) -> None:
    """Expect the page of this conflict, with its keys."""
    expect(page).to_have_url(re.compile(f"/console/conflicts/{key}$"))
    page.wait_for_load_state()


def choose(page: Page, field: str, side: str) -> None:
    """Choose one side's value of a field."""
    page.get_by_role("group", name=field).get_by_role("radio", name=side).check()


def test_a_conflict_is_decided_by_keyboard_field_by_field(site: Site, open_browser: Open, admin: User) -> None:
    work = begin(site, "Conflict Hall")
    key = work.conflict()
    page = open_browser(admin)
    page.goto("/console/conflicts")
    page.keyboard.press("j")
    expect(page.locator(f"[href='/console/conflicts/{key}']")).to_be_focused()
    page.keyboard.press("Enter")
    location, pressure = page.get_by_role("group", name="Location"), page.get_by_role("group", name="Static pressure")
    expect(location.get_by_role("radio", checked=True)).to_have_count(0)
    expect(pressure.get_by_role("radio", name="On the device")).to_be_checked()
    go_to(page, page.get_by_role("button", name="Save the decision"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_role("alert")).to_contain_text("Location: Choose a value.")
    page_is_sound(page)
    go_to(page, location.get_by_role("radio", name="Before"))
    for key, name in (("3", "On the server"), ("1", "Before"), ("2", "On the device")):
        page.keyboard.press(key)
        expect(location.get_by_role("radio", name=name)).to_be_checked()
        expect(location.get_by_role("radio", name=name)).to_be_focused()
    expect(pressure.get_by_role("radio", name="On the device")).to_be_checked()
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    expect(location.get_by_role("radio", name="Another value")).to_be_checked()
    go_to(page, page.get_by_label("Another value of Location"))
    page.keyboard.press("Control+A")
    page.keyboard.type("Entrance, behind the door")
    go_to(page, page.get_by_role("button", name="Save the decision"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The conflict is decided.")
    assert (work.answers["Location"], work.answers["Pressure"]) == ("Entrance, behind the door", 86)


def test_conflicts_are_looked_through_by_keys_and_one_is_left_to_its_device(
    site: Site, open_browser: Open, admin: User
) -> None:
    work = begin(site, "Three Conflicts")
    older, middle, newer = (work.conflict() for _ in range(3))
    page = open_browser(work.owner)
    open_conflict(page, middle)
    page.keyboard.press("j")
    expect_conflict(page, older)
    page.keyboard.press("k")
    expect_conflict(page, middle)
    page.get_by_role("link", name="Previous").click()
    expect_conflict(page, newer)
    page.get_by_role("link", name="Leave it to the device").click()
    expect_conflict(page, middle)
    assert site.world.get(SetAside, newer).decision is None


def test_the_slower_one_of_two_supervisors_on_a_conflict_sees_it_and_keeps_the_choices(
    site: Site, open_browser: Open, admin: User
) -> None:
    work = begin(site, "Both Decide")
    key = work.conflict()
    slow, fast = open_browser(admin), open_browser(work.owner)
    open_conflict(slow, key)
    open_conflict(fast, key)
    choose(slow, "Location", "Another value")
    slow.get_by_label("Another value of Location").fill("By the slower one")
    choose(fast, "Location", "On the device")
    fast.get_by_role("button", name="Save the decision").click()
    expect(fast.get_by_role("status")).to_contain_text("The conflict is decided.")
    slow.get_by_role("button", name="Save the decision").click()
    expect(slow.get_by_role("alert")).to_be_focused()
    expect(slow.get_by_role("main")).to_contain_text(work.owner.name)
    expect(slow.get_by_role("radio", name="Another value").first).to_be_checked()
    expect(slow.get_by_label("Another value of Location")).to_have_value("By the slower one")
    assert work.answers["Location"] == "Behind the door"
    page_is_sound(slow)


def test_a_refused_item_is_repaired_in_place_by_keyboard(site: Site, open_browser: Open, admin: User) -> None:
    work = begin(site, "Refused House")
    key = work.refusal()
    page = open_browser(admin)
    page.goto(f"/console/set-aside?user_id={work.technician.id}")
    go_to(page, page.get_by_role("link", name="Form filled", exact=True))
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.address}/console/set-aside/{key}")
    go_to(page, page.get_by_label("Static pressure"))
    page.keyboard.press("Control+A")
    page.keyboard.type("8S")
    go_to(page, page.get_by_role("button", name="Apply with these values"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_label("Static pressure")).to_have_value("8S")
    page_is_sound(page)
    go_to(page, page.get_by_label("Static pressure"))
    page.keyboard.press("Control+A")
    page.keyboard.type("88")
    go_to(page, page.get_by_role("button", name="Apply with these values"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("is applied")
    row = site.world.get(SetAside, key)
    assert site.world.get(FormFill, int(row.entity_id)).data["Pressure"] == 88


def test_a_refused_item_is_discarded_with_a_reason(site: Site, open_browser: Open, admin: User) -> None:
    key = begin(site, "Discarded House").refusal()
    page = open_browser(admin)
    page.goto(f"/console/set-aside/{key}")
    page.get_by_text("Discard…").click()
    page.get_by_role("button", name="Discard", exact=True).click()
    assert site.world.get(SetAside, key).decision is None, "a reason is needed"
    page.get_by_label("Reason", exact=True).fill("It was sent twice.")
    page.get_by_role("button", name="Discard", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("is discarded")
    page.goto(f"/console/set-aside/{key}")
    expect(page.get_by_role("main")).to_contain_text("It was sent twice.")
    page_is_sound(page)


def test_technicians_see_their_items_and_decide_none(site: Site, open_browser: Open) -> None:
    work = begin(site, "Technician House")
    key = work.conflict()
    page = open_browser(work.technician)
    open_conflict(page, key)
    expect(page.get_by_text("An administrator or the owner of the inspection decides this.")).to_be_visible()
    expect(page.get_by_role("radio")).to_have_count(0)
    expect(page.get_by_role("button", name="Save the decision")).to_have_count(0)
    page_is_sound(page)


def open_all_of(page: Page, work: Work) -> None:
    """The list of the items that this technician's phone has sent."""
    page.goto(f"/console/set-aside?user_id={work.technician.id}")


def test_all_that_match_are_applied_once_the_right_number_is_confirmed(
    site: Site, open_browser: Open, admin: User
) -> None:
    work = begin(site, "Many Houses")
    keys = [work.refusal() for _ in range(3)]
    page = open_browser(admin)
    open_all_of(page, work)
    page.get_by_role("button", name="Decide all 3 that match…").click()
    keys.append(work.refusal())
    page.get_by_role("button", name="Apply 3").click()
    expect(page.get_by_role("alert")).to_be_focused()
    assert {site.world.get(SetAside, key).decision for key in keys} == {None}
    page.get_by_role("button", name="Apply 4").click()
    expect(page.get_by_role("status")).to_contain_text("4 of 4 are applied.")
    expect(page.locator("[data-rows] tr")).to_have_count(4)
    assert {site.world.get(SetAside, key).decision for key in keys} == {"applied"}
    page_is_sound(page)


def test_all_that_match_are_discarded_by_keyboard_with_one_reason(site: Site, open_browser: Open, admin: User) -> None:
    work = begin(site, "Houses Twice")
    keys = [work.refusal() for _ in range(2)]
    page = open_browser(admin)
    open_all_of(page, work)
    go_to(page, page.get_by_label("Decision"))
    page.keyboard.type("Disc")
    go_to(page, page.get_by_role("button", name="Decide all 2 that match…"))
    page.keyboard.press("Enter")
    go_to(page, page.get_by_label("Reason"))
    page.keyboard.type("Visited twice")
    go_to(page, page.get_by_role("button", name="Discard 2"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("2 of 2 are discarded.")
    rows = [site.world.get(SetAside, key) for key in keys]
    assert {(row.decision, row.reason) for row in rows} == {("discarded", "Visited twice")}
