"""A real Chromium, one for each test process, and a server for each module."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from app.models import User
from app.testing import PASSWORD
from tests.browser.chromium import Chromium, bring, find
from tests.browser.sites import Site, site_in
from tests.support.databases import sqlite_file
from tests.support.npm import NotFetchedError

#: Milliseconds in which a page must come. A machine that runs many tests at once may take long.
PATIENCE = 10_000

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def program() -> Chromium:
    """The Chromium of this machine, brought if there is none."""
    try:
        return find() or bring()
    except NotFetchedError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"NOT TESTED: pages in a browser. Run `make browser`. {error}")


# Playwright's event loop counts as running for as long as this lasts: no longer than the tests of this folder.
@pytest.fixture(scope="package")
def chromium(program: Chromium) -> Iterator[Browser]:
    """A browser without any page."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program.program,
            env={**os.environ, **program.environment},
            args=["--disable-gpu", "--disable-quic", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The server of a module's tests, which make people of their own."""
    directory = tmp_path_factory.mktemp("site")
    with sqlite_file(directory), site_in(directory) as site:
        # The first administrator is there.
        site.user("admin")
        yield site


@pytest.fixture
def open_browser(chromium: Browser, site: Site) -> Iterator[Open]:
    """`open_browser(user=None)` → the empty page of another browser, or one that the user has signed in with."""
    contexts = []

    def open_one(user: User | None = None, address: str = site.address) -> Page:
        # Nothing moves, so that axe sees each colour as it stays.
        context = chromium.new_context(
            base_url=address, viewport={"width": 1280, "height": 800}, reduced_motion="reduce"
        )
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        if user is not None:
            sign_in(page, user)
        return page

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_browser: Open) -> Page:
    """The page of a browser that nobody has signed in with."""
    return open_browser()


def sign_in(page: Page, user: User, password: str = PASSWORD) -> None:
    """Complete the sign-in page, after opening it unless it is open."""
    if not page.url.partition("?")[0].endswith("/sign-in"):
        page.goto("/sign-in")
    page.get_by_label("E-mail address").fill(user.email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
