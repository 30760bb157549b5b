"""The first administrator, from the log of a server without users to the first page."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.soundness import page_is_sound
from tests.support.databases import SECRET_KEY
from tests.support.servers import environment_of, running

PASSWORD = "three words, not together"


@pytest.mark.database("postgresql")
def test_the_first_administrator_comes_in_with_the_token_of_the_log(
    database: str, tmp_path: Path, open_browser: Open
) -> None:
    settings = {"DATABASE_URL": database, "FIELDPOST_SECRET_KEY": SECRET_KEY, "WEB_CONCURRENCY": "1"}
    log = tmp_path / "log"
    kept = ("sh", "-c", f'exec "$0" "$@" 2>"{log}"')
    with running(environment_of(tmp_path, **settings), prefix=kept) as address:
        page = open_browser(address=address)
        page.goto("/")
        expect(page.get_by_role("heading", level=1)).to_have_text("Welcome to Fieldpost")
        page_is_sound(page)
        token = log.read_text().partition("/first-run in a browser, and enter the token ")[2][:32]
        values = {"Token": "guessed", "Your name": "Ada", "E-mail address": "ada@example.com", "Password": PASSWORD}
        for label, value in values.items():
            page.get_by_label(label).fill(value)
        page.get_by_role("button", name="Make the first administrator").click()
        expect(page.get_by_text("This is not the token in the server's log.")).to_be_visible()
        page_is_sound(page)
        page.get_by_label("Token").fill(token)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Make the first administrator").click()
        expect(page.get_by_role("status")).to_contain_text("You are the first administrator.")
        page.get_by_label("E-mail address").fill("ada@example.com")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        page_is_sound(page)
