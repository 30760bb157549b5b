"""Signing in and out, one's own account, and errors, as people with a mouse or a keyboard meet them."""

from __future__ import annotations

from playwright.sync_api import Page, Route, expect

from app.config import API_PREFIX
from app.models import SignIn
from app.testing import PASSWORD
from app.testing import sign_in as sign_in_client
from tests.browser.conftest import Open, sign_in
from tests.browser.sites import Site
from tests.browser.soundness import go_to, page_is_sound

NEW = "three words, not together"

#: Another site, which is made up by the tests: no name is looked up.
ELSEWHERE = "http://elsewhere.example/"


def expect_inside(page: Page) -> None:
    """Expect a page that only people who are signed in see."""
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def open_account(page: Page) -> None:
    """Open *my account*."""
    page.goto("/")
    page.get_by_role("link", name="my account").click()
    expect(page).to_have_title("My account · Fieldpost")


def test_somebody_signs_in_with_the_mouse(site: Site, page: Page) -> None:
    page.goto("/")
    expect(page).to_have_title("Sign in · Fieldpost")
    page_is_sound(page)
    sign_in(page, site.user())
    open_account(page)
    page_is_sound(page)


def test_somebody_signs_in_and_out_with_the_keyboard(site: Site, page: Page) -> None:
    user = site.user()
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    go_to(page, page.get_by_label("E-mail address"))
    page.keyboard.type(user.email)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect_inside(page)
    go_to(page, page.get_by_role("button", name="Sign out"))
    page.keyboard.press("Enter")
    expect(page).to_have_title("Sign in · Fieldpost")
    page_is_sound(page)


def test_a_wrong_password_is_told_and_the_address_kept(site: Site, page: Page) -> None:
    user = site.user()
    sign_in(page, user, "guessed")
    expect(page.get_by_role("alert")).to_have_text("The e-mail address or the password is wrong.")
    expect(page.get_by_label("E-mail address")).to_have_value(user.email)
    expect(page.get_by_label("Password")).to_have_value("")
    page_is_sound(page)


def test_after_too_many_guesses_the_page_says_how_long_to_wait(site: Site, page: Page) -> None:
    user = site.user()
    for _ in range(10):
        body = {"email": user.email, "password": "guessed"}
        assert page.request.post(f"{API_PREFIX}/auth/login", data=body).status == 401
    sign_in(page, user)
    expect(page.get_by_role("alert")).to_contain_text("Too many failed sign-ins. Try again in")
    page_is_sound(page)


def test_an_ended_sign_in_leads_back_to_the_page_that_was_open(site: Site, open_browser: Open) -> None:
    user = site.user()
    page = open_browser(user)
    open_account(page)
    site.leave_unused(user, minutes=121)
    page.reload()
    expect(page).to_have_title("Sign in · Fieldpost")
    sign_in(page, user)
    expect(page).to_have_title("My account · Fieldpost")
    page_is_sound(page)


def test_the_back_button_shows_nothing_after_the_sign_out(site: Site, open_browser: Open) -> None:
    user = site.user(name="Theo Secret")
    page = open_browser(user)
    open_account(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_title("Sign in · Fieldpost")
    page.go_back()
    expect(page).to_have_title("Sign in · Fieldpost")
    expect(page.get_by_text("Theo Secret")).to_have_count(0)
    page_is_sound(page)


def test_the_sign_in_leads_to_no_other_site(site: Site, open_browser: Open) -> None:
    user = site.user()
    for address in (ELSEWHERE, "//elsewhere.example", "/\\elsewhere.example", "/%09/elsewhere.example"):
        page = open_browser()
        page.goto(f"/sign-in?next={address}")
        sign_in(page, user)
        expect_inside(page)
        assert page.url.startswith(f"{site.address}/")


def test_a_new_password_ends_the_other_browser(site: Site, open_browser: Open) -> None:
    user = site.user()
    page, other = open_browser(user), open_browser(user)
    open_account(page)
    open_account(other)
    page.get_by_label("Current password").fill("guessed")
    page.get_by_label("New password", exact=True).fill(NEW)
    page.get_by_label("New password, once more").fill(NEW)
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_label("Current password")).to_have_accessible_description("This is not your password.")
    page_is_sound(page)
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password", exact=True).fill(NEW)
    page.get_by_label("New password, once more").fill(NEW)
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_role("status")).to_have_text("Your password is changed. All your other sign-ins have ended.")
    page_is_sound(page)
    other.reload()
    sign_in(other, user, NEW)
    expect_inside(other)


def test_somebody_ends_the_sign_in_of_a_device_with_the_keyboard(site: Site, open_browser: Open) -> None:
    user = site.user()
    sign_in_client(site.app, user, "0d2f8e6c-8d7b-4d0e-9a53-1f2e3d4c5b6a")
    page = open_browser(user)
    open_account(page)
    device = page.get_by_role("listitem").filter(has_text="0d2f8e6c-8d7b-4d0e-9a53-1f2e3d4c5b6a")
    go_to(page, device.get_by_role("button"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The sign-in has ended.")
    expect(page.get_by_role("listitem")).to_have_count(1)
    present = [row.is_browser for row in site.world.all(SignIn) if row.user_id == user.id and not row.revoked_at]
    assert present == [True]
    page_is_sound(page)


def test_errors_are_pages(site: Site, open_browser: Open) -> None:
    page = open_browser(site.user())
    page.goto("/nowhere")
    expect(page.get_by_role("heading", level=1)).to_have_text("Not Found")
    page_is_sound(page)
    page.goto("/my-account")
    page.get_by_role("button", name="Sign out").evaluate("button => button.form.csrf_token.value = 'of long ago'")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This form can no longer be sent")
    page_is_sound(page)
    page.context.clear_cookies()
    page.get_by_role("link", name="Go to the start page").click()
    expect(page).to_have_title("Sign in · Fieldpost")


def test_another_site_can_neither_frame_a_page_nor_send_its_form(site: Site, open_browser: Open) -> None:
    page = open_browser(site.user())
    frame = f'<iframe src="{site.address}/my-account"></iframe>'
    form = f'<form method="post" action="{site.address}/sign-out"><button>Win a prize</button></form>'

    def answer(route: Route) -> None:
        route.fulfill(body=frame + form, content_type="text/html")

    page.route(ELSEWHERE, answer)
    page.goto(ELSEWHERE)
    assert page.frames[1].url == "chrome-error://chromewebdata/"
    # The browser sends no cookie along, so the form is nobody's: it leads to the sign-in, which nobody here needs.
    page.get_by_role("button", name="Win a prize").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Today")
    page.goto("/my-account")
    expect_inside(page)
