"""Users and their devices, and the numbers on syncing, as administrators work with them."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from app.models import User
from app.testing import push
from tests.browser.conftest import Open, sign_in
from tests.browser.sites import Site
from tests.browser.soundness import go_to, page_is_sound
from tests.browser.work import begin


@pytest.fixture
def admin(site: Site) -> User:
    return site.user("admin", name="Ada Office")


def present(site: Site, user: User) -> User:
    """The user as they are now."""
    found: User = site.world.get(User, user.id)
    return found


def test_a_user_is_added_by_keyboard_and_signs_in_with_the_password_that_is_shown_once(
    site: Site, open_browser: Open, admin: User
) -> None:
    page = open_browser(admin)
    page.goto("/console/users")
    go_to(page, page.get_by_role("link", name="Add a user"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Add a user")
    go_to(page, page.get_by_label("E-mail address"))
    page.keyboard.type(admin.email)
    page.keyboard.press("Tab")
    page.keyboard.type("Nora New")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_focused()
    page_is_sound(page)
    page.get_by_label("E-mail address").fill("nora@example.com")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Nora New is added")
    password = page.locator("code").inner_text()
    page_is_sound(page)
    page.get_by_role("link", name="To Nora New").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Nora New")
    expect(page.get_by_text(password)).to_have_count(0)
    (nora,) = [user for user in site.world.all(User) if user.email == "nora@example.com"]
    new = open_browser()
    sign_in(new, nora, password)
    expect(new.get_by_role("button", name="Sign out")).to_be_visible()


def test_a_user_gets_another_role_and_a_new_password_and_is_deactivated(
    site: Site, open_browser: Open, admin: User
) -> None:
    person = site.user(name="Pat Changing")
    page, other = open_browser(admin), open_browser(person)
    page.goto("/console/users?q=Pat")
    page.get_by_role("link", name="Pat Changing").click()
    page.get_by_label("Role", exact=True).select_option("user")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("The user is changed.")
    assert present(site, person).role == "user"
    page.get_by_role("button", name="Give a new password").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("A new password for Pat Changing")
    other.goto("/my-account")
    expect(other).to_have_title("Sign in · Fieldpost")
    sign_in(other, person, page.locator("code").inner_text())
    expect(other.get_by_role("button", name="Sign out")).to_be_visible()
    page.get_by_role("link", name="To Pat Changing").click()
    go_to(page, page.get_by_role("button", name="Deactivate"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("The user can no longer sign in.")
    page_is_sound(page)
    other.reload()
    expect(other).to_have_title("Sign in · Fieldpost")
    page.get_by_role("button", name="Let them sign in again").click()
    expect(page.get_by_role("status")).to_have_text("The user can sign in again.")


def test_the_slower_one_of_two_administrators_sees_the_change_of_the_other(
    site: Site, open_browser: Open, admin: User
) -> None:
    person = site.user(name="Pia Twice")
    slow, fast = open_browser(admin), open_browser(site.user("admin"))
    for page in (slow, fast):
        page.goto(f"/console/users/{person.id}")
    fast.get_by_label("Role", exact=True).select_option("admin")
    fast.get_by_role("button", name="Save").click()
    expect(fast.get_by_role("status")).to_be_visible()
    slow.get_by_label("Name", exact=True).fill("Pia Slow")
    slow.get_by_role("button", name="Save").click()
    expect(slow.get_by_role("alert")).to_be_focused()
    expect(slow.get_by_role("alert")).to_contain_text("administrator")
    expect(slow.get_by_label("Name", exact=True)).to_have_value("Pia Slow")
    assert present(site, person).name == "Pia Twice"
    page_is_sound(slow)


def test_a_device_is_signed_out_from_the_board_by_keyboard(site: Site, open_browser: Open, admin: User) -> None:
    work = begin(site, "Phone House")
    assert work.phone.get("/api/v1/auth/me").status_code == 200
    page = open_browser(admin)
    page.goto("/console/devices?q=Phone+of+Phone+House")
    row = page.get_by_role("row").filter(has_text="Phone of Phone House")
    expect(row).to_contain_text("2 changes")
    expect(row).to_contain_text("no network")
    go_to(page, row.get_by_role("button"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("1 sign-in has ended.")
    assert work.phone.get("/api/v1/auth/me").status_code == 401
    own = open_browser(work.technician)
    own.goto("/console/devices")
    expect(own.get_by_role("row")).to_have_count(2)


def test_the_numbers_on_syncing_renew_themselves(site: Site, open_browser: Open, admin: User) -> None:
    work = begin(site, "Health House")
    page = open_browser(admin)
    page.clock.install()
    page.goto("/console/sync-health")
    batches = page.locator("[data-number=batches]")
    before = int(batches.inner_text())
    push(work.phone, work.edit(Location="Roof"))
    # The page looks every 15 seconds.
    page.clock.run_for(20_000)
    expect(batches).to_have_text(str(before + 1))
    page.get_by_text("As a table").click()
    expect(page.get_by_role("columnheader", name="Batches")).to_be_visible()
    page.get_by_role("link", name="30 days").click()
    expect(page.get_by_role("link", name="30 days")).to_have_attribute("aria-current", "page")
    page_is_sound(page)
