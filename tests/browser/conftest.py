"""A real Chromium and a real server, one of each for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from app.models import User
from app.testing import PASSWORD
from tests.browser.chromium import Chromium, bring, find
from tests.browser.sites import Site, found_example, site_in
from tests.support.databases import SECRET_KEY, sqlite_file
from tests.support.npm import NotFetchedError
from tests.support.servers import environment_of, flask

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


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The server of all tests, with the demo data and the complete example; tests make people of their own."""
    directory = tmp_path_factory.mktemp("site")
    settings = {"PYTHONPATH": str(found_example(tmp_path_factory.mktemp("equipment"))), "WEB_CONCURRENCY": "1"}
    with sqlite_file(directory):
        done = flask(environment_of(directory, FIELDPOST_SECRET_KEY=SECRET_KEY, **settings), "db", "upgrade")
        assert done.returncode == 0, done.stderr
        with site_in(directory, **settings) as site:
            yield site


@pytest.fixture
def open_browser(chromium: Browser, site: Site) -> Iterator[Open]:
    """`open_browser(user=None)` → the empty page of another browser, in which the user has signed in."""
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
            let_in(context, user)
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


def let_in(context: BrowserContext, user: User) -> None:
    """Sign in as the page does, without drawing it."""
    page = context.request.get("/sign-in").text()
    token = page.split('name="csrf_token" value="')[1].split('"')[0]
    values: dict[str, str | float | bool] = {"csrf_token": token, "email": user.email, "password": PASSWORD}
    answer = context.request.post("/sign-in", form=values, max_redirects=0)
    assert answer.status == 303, answer.text()
