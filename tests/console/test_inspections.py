"""The console's list of inspections: who sees what, filters, pages by key, and constant cost."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from fieldpost_console.pages import inspections as pages
from fieldpost_console.pages import people
from flask import Flask
from sqlalchemy import update

from app.administration import inspection_list
from app.core.database.engine import db
from app.core.database.transactions import writing
from app.models import Attachment
from app.testing import Scene, statements_of
from tests.pages.browser import Browser, signed_in_browser
from tests.support.cases import cases

LIST = "/console/inspections"


def places(browser: Browser, query: str = "") -> list[str]:
    """The places in the list, in order."""
    answer = browser.get(f"{LIST}?{query}")
    assert answer.status_code == 200, answer.text
    return re.findall(r'<th scope="row"[^>]*><span><a [^>]*>(.*?)</a>', answer.text)


def link(text: str, rel: str) -> str:
    """The address of the page's link to another page of the list."""
    (address,) = re.findall(rf'rel="{rel}" href="([^"]+)"', text)
    return str(address).replace("&amp;", "&")


@pytest.fixture
def scene(app: Flask) -> Scene:
    return Scene(app)


def browser_of(scene: Scene, who: str) -> Browser:
    return signed_in_browser(scene.app, scene.user(who))


def make(scene: Scene, name: str, **values: Any) -> Any:
    """An inspection of the scene's owner at a place of this name."""
    return scene.world.inspection(scene.user("owner"), property={"property_name": name}, **values)


def test_the_menu_marks_the_present_page(scene: Scene) -> None:
    assert (
        '<a href="/console/inspections" aria-current="page">Inspections</a>'
        in browser_of(scene, "admin").get(LIST).text
    )


def test_people_see_their_own_inspections_and_administrators_all(scene: Scene) -> None:
    make(scene, "Dock", assignee=scene.user("technician"))
    make(scene, "Mill")
    assert places(browser_of(scene, "admin")) == ["Mill", "Dock"]
    assert places(browser_of(scene, "owner")) == ["Mill", "Dock"]
    assert places(browser_of(scene, "technician")) == ["Dock"]
    stranger = browser_of(scene, "stranger").get(LIST).text
    assert "There is no inspection yet that you may see." in stranger
    assert "owner@example.com" not in stranger
    assert "Technician" not in stranger, "only administrators learn who else there is"


def test_the_filters_stand_in_the_address(scene: Scene) -> None:
    technician = scene.user("technician")
    dock = make(scene, "Dock", assignee=technician, date=dt.date(2024, 3, 1), status="completed")
    make(scene, "Mill", date=dt.date(2024, 3, 9), customer={"name": "Harbour Ltd"}, notes="behind the Gate")
    template = scene.world.template()
    scene.world.form_fill(dock, template)
    browser = browser_of(scene, "admin")
    assert places(browser, "status=completed") == ["Dock"]
    assert places(browser, "status=open") == ["Mill"]
    assert places(browser, "assignee_id=none") == ["Mill"]
    assert places(browser, f"assignee_id={technician.id}") == ["Dock"]
    assert places(browser, f"owner_id={scene.user('owner').id}") == ["Mill", "Dock"]
    assert places(browser, "date_from=2024-03-02") == ["Mill"]
    assert places(browser, "date_to=2024-03-01") == ["Dock"]
    assert places(browser, f"template_id={template.id}") == ["Dock"]
    assert places(browser, "customer=harbour") == ["Mill"]
    assert places(browser, "q=gate") == ["Mill"]
    assert places(browser, "q=gate&status=&assignee_id=&date_from=") == ["Mill"], "a form sends empty fields along"
    assert places(browser, "sort=date") == ["Dock", "Mill"]
    none = browser.get(f"{LIST}?q=gate&status=completed").text
    assert "No inspection that you may see meets these filters." in none
    assert 'value="gate"' in none


def test_a_filter_that_means_nothing_is_told_and_does_not_count(scene: Scene) -> None:
    make(scene, "Dock")
    answer = browser_of(scene, "admin").get(f"{LIST}?date_from=soon&sort=up")
    assert answer.status_code == 400
    assert '<a class="fp-fault" href="#date_from">Date from: Not a date such as 2024-03-15.</a>' in answer.text
    assert 'id="date_from-faults"' in answer.text
    assert "Dock" in answer.text


@pytest.mark.parametrize("sort", ["newest", "oldest", "date", "latest_date"])
def test_the_list_is_paged_by_key_both_ways(scene: Scene, sort: str) -> None:
    for number in range(101):
        make(scene, f"P{number}", date=dt.date(2024, 3, 1 + number % 3))
    browser = browser_of(scene, "admin")
    pages = [browser.get(f"{LIST}?sort={sort}").text]
    assert "101 match" in pages[0]
    assert 'rel="prev"' not in pages[0]
    for _ in range(2):
        pages.append(browser.get(link(pages[-1], "next")).text)
    assert 'rel="next"' not in pages[2]
    names = [re.findall(r"<span><a [^>]*>(P\d+)", page) for page in pages]
    assert [len(page) for page in names] == [50, 50, 1]
    assert len({name for page in names for name in page}) == 101
    back = browser.get(link(pages[2], "prev")).text
    assert re.findall(r"<span><a [^>]*>(P\d+)", back) == names[1]
    assert re.findall(r"<span><a [^>]*>(P\d+)", browser.get(link(back, "prev")).text) == names[0]


@cases("place", ["after=x", "before=1~2", "after=", "after=9999999999999999999999"])
def test_a_place_that_no_list_has_is_not_found(scene: Scene, place: str) -> None:
    answer = browser_of(scene, "admin").get(f"{LIST}?{place}")
    assert answer.status_code == 404, answer.text
    assert "<h1" in answer.text


def test_of_a_search_that_finds_many_nobody_counts_what_is_known(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection_list, "FEW_WITH_TEXT", 2)
    monkeypatch.setattr(pages, "MOST_COUNTED", 2)
    for status in ("completed", "pending", "pending"):
        make(scene, "Mill", notes="A valve", status=status)
    browser = browser_of(scene, "admin")
    with statements_of(scene.app) as statements:
        assert "More than 2 match" in browser.get(f"{LIST}?q=valve").text
    assert not any("AS total" in statement for statement in statements)
    assert "2 match" in browser.get(f"{LIST}?q=valve&status=pending").text
    assert "1 matches" in browser.get(f"{LIST}?q=valve&status=completed").text


def test_the_first_page_of_a_search_reads_the_texts_once(scene: Scene) -> None:
    for number in range(51):
        make(scene, f"Dock {number}")
    browser = browser_of(scene, "admin")
    searches = []
    for text in ("Dock 50", "Dock"):
        with statements_of(scene.app) as statements:
            page = browser.get(f"{LIST}?q={text}")
        searches.append(len([statement for statement in statements if "LIKE" in statement or "strpos" in statement]))
        assert ("1 matches" if text == "Dock 50" else "51 match") in page.text
    assert searches == [1, 1]


def test_a_page_takes_a_constant_number_of_statements(scene: Scene) -> None:
    def cost() -> int:
        with statements_of(scene.app) as statements:
            assert browser.get(LIST).status_code == 200
        return len([statement for statement in statements if statement.lstrip().startswith("SELECT")])

    browser = browser_of(scene, "admin")
    make(scene, "First", assignee=scene.user("technician"))
    few = cost()
    for number in range(20):
        scene.world.form_fill(make(scene, f"P{number}"))
    assert cost() == few
    # The sign-in, the page, its number, form fills and photos, people, templates, and the numbers in the menu.
    assert few == 7


def test_where_nothing_is_found_nothing_is_counted_below_it(scene: Scene) -> None:
    browser = browser_of(scene, "admin")
    with statements_of(scene.app) as statements:
        assert "No inspection that you may see" in browser.get(f"{LIST}?q=nowhere").text
    assert not any("form_fills" in statement or "attachments" in statement for statement in statements)


def test_forms_and_photos_are_counted_apart_without_deleted_ones(scene: Scene) -> None:
    dock, mill = make(scene, "Dock"), make(scene, "Mill")
    form_fill = scene.world.form_fill(dock)
    photos = [scene.world.attachment(form_fill) for _ in range(3)]
    with scene.app.app_context(), writing(db.engine) as connection:
        connection.execute(update(Attachment).where(Attachment.id == photos[0].id).values(deleted_at=dock.created_at))
    scene.world.form_fill(mill)
    text = browser_of(scene, "admin").get(LIST).text
    assert re.findall(r'data-label="(?:Forms|Photos)" class="fc-number">(.*?)<', text) == ["1", "–", "1", "2"]


def test_people_beyond_a_choice_are_named_and_technicians_are_all_there(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(scene, "Dock", assignee=scene.user("technician"))
    browser, chosen = browser_of(scene, "admin"), f'value="{scene.user("technician").id}"'
    names = r'data-label="Assigned to">(.*?)<'
    for most in (500, 2, 1):
        monkeypatch.setattr(people, "MOST", most)
        text = browser.get(LIST).text
        assert re.findall(names, text) == ["Technician"]
        assert chosen in text.partition('id="assignee_id"')[2].partition("</select>")[0]
        assert (chosen in text.partition('id="owner_id"')[2].partition("</select>")[0]) == (most == 500)


def test_a_deactivated_assignee_is_named_and_cannot_be_chosen(scene: Scene) -> None:
    make(scene, "Dock", assignee=scene.world.user("gone@example.com", name="Gone", role="technician", active=False))
    text = browser_of(scene, "admin").get(LIST).text
    assert 'data-label="Assigned to">Gone<' in text
    assert ">Gone</option>" not in text


def test_markup_in_names_stays_text(scene: Scene) -> None:
    make(scene, "<b>Dock</b>", customer={"name": "<script>x</script>"}, interval_category='"><img src=x>')
    text = browser_of(scene, "admin").get(f"{LIST}?q=%22%3E%3Cimg").text
    text += browser_of(scene, "admin").get(LIST).text
    assert "<b>Dock" not in text
    assert "<script>x" not in text
    assert "<img src=x" not in text


def test_the_page_speaks_the_language_of_the_browser_and_english_where_a_text_is_missing(scene: Scene) -> None:
    page = browser_of(scene, "admin").get(LIST, {"Accept-Language": "es-MX,es;q=0.9,en;q=0.5"}).text
    assert '<html lang="es">' in page
    assert '<html lang="en">' in browser_of(scene, "admin").get(LIST, {"Accept-Language": "xx"}).text
