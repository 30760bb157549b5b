"""Exports, as files that a browser has saved."""

from __future__ import annotations

import csv
from io import BytesIO
from zipfile import ZipFile

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Open
from tests.browser.sites import Site
from tests.browser.work import begin

PLACE = "Exported House"


@pytest.fixture
def page(site: Site, open_browser: Open) -> Page:
    """The list with one inspection, which has a photo."""
    work = begin(site, PLACE)
    work.take_photos(1)
    page = open_browser(site.user("admin"))
    page.goto(f"/console/inspections?owner_id={work.owner.id}")
    return page


def saved(page: Page, button: str) -> tuple[str, bytes]:
    """The name and the bytes of the file behind a button."""
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_the_list_is_saved_in_every_form(page: Page) -> None:
    page.get_by_text("Export", exact=True).click()
    name, data = saved(page, "Inspections as CSV")
    rows = list(csv.reader(data.decode("utf-8-sig").splitlines()))
    assert (name[-4:], len(rows)) == (".csv", 2)
    assert PLACE in rows[1]
    assert "Entrance" in saved(page, "All answers as CSV")[1].decode("utf-8-sig")
    for button in ("Inspections as XLSX", "All answers as XLSX"):
        name, data = saved(page, button)
        assert name.endswith(".xlsx")
        assert "xl/workbook.xml" in ZipFile(BytesIO(data)).namelist()
    name, data = saved(page, "Photos as ZIP")
    assert (name[-4:], len(ZipFile(BytesIO(data)).namelist())) == (".zip", 1)


def test_the_report_of_an_inspection_is_saved_by_keyboard(page: Page) -> None:
    page.get_by_role("link", name=PLACE).click()
    link = page.get_by_role("link", name="Report (PDF)")
    link.focus()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith(".pdf")
    assert download.value.path().read_bytes().startswith(b"%PDF-")
