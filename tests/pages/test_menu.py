"""The texts beside menu entries come from plugins: a plugin that fails there takes no page away."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from app.core.database.engine import db
from app.models import Inspection, User
from tests.pages.browser import Browser, signed_in_browser

Counts = Callable[[Any], Mapping[str, str]]

#: A page of the core, and one of a plugin that has read rows before the menu is made.
PAGES = ("/my-account", "/console/inspections")

NUMBER = '<span class="fp-count" data-number="console.conflicts">'


@pytest.fixture
def browser(app: Flask, owner: User, inspection: Inspection) -> Browser:
    return signed_in_browser(app, owner)


def let_count(app: Flask, counts: Counts) -> None:
    """Replace the function that counts for the console's menu."""
    installed = app.extensions["fieldpost.registry"].installed
    plugin = installed["console"].plugin
    pages = replace(plugin.pages, counts=counts)
    installed["console"] = replace(installed["console"], plugin=replace(plugin, pages=pages))


def raises(error: BaseException) -> Counts:
    def counts(_user: Any) -> Mapping[str, str]:
        raise error

    return counts


def exits(_user: Any) -> Mapping[str, str]:
    sys.exit("from a plugin")


def asks_a_table_that_is_not_there(_user: Any) -> Mapping[str, str]:
    db.session.execute(text("SELECT count(*) FROM no_such_table"))
    return {}


def counts_nothing(_user: Any) -> Any:
    return None


def test_a_plugin_writes_beside_its_entries(app: Flask, browser: Browser) -> None:
    let_count(app, lambda user: {"console.conflicts": f"<{user.role}>"})
    for page in PAGES:
        assert f"{NUMBER}&lt;user&gt;</span>" in browser.get(page).text


@pytest.mark.parametrize(
    "counts",
    [raises(ValueError("from a plugin")), raises(BaseException("from a plugin")), exits, counts_nothing],
    ids=["an error", "no usual error", "an exit", "no mapping"],
)
@pytest.mark.database("sqlite")
def test_a_plugin_that_fails_to_count_leaves_its_entries_without_numbers(
    app: Flask, browser: Browser, counts: Counts, caplog: pytest.LogCaptureFixture
) -> None:
    let_count(app, counts)
    with caplog.at_level(logging.ERROR, "app.pages.render"):
        answer = browser.get("/my-account")
    assert answer.status_code == 200
    assert 'href="/console/conflicts"' in answer.text
    assert NUMBER not in answer.text
    (record,) = [record for record in caplog.records if record.name == "app.pages.render"]
    assert (record.message, vars(record)["pages"]) == ("counts failed", "console")
    assert record.exc_info


def test_after_a_statement_that_fails_pages_still_show_their_rows(
    app: Flask, browser: Browser, inspection: Inspection
) -> None:
    let_count(app, asks_a_table_that_is_not_there)
    for page in PAGES:
        answer = browser.get(page)
        assert answer.status_code == 200
        assert NUMBER not in answer.text
    assert f'href="/console/inspections/{inspection.id}"' in answer.text
