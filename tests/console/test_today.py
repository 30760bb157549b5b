"""*Today*: the piles of work, what is due, and what changed lately, for each person their own."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from flask import Flask

from app.testing import Scene, push, statements_of
from tests.conftest import SettableClock
from tests.pages.browser import Browser, signed_in_browser
from tests.support.answers import json_of

TODAY = "/console/today"
NUMBERS = "/console/today/numbers"


@pytest.fixture
def scene(app: Flask) -> Scene:
    return Scene(app)


def browser_of(scene: Scene, who: str) -> Browser:
    return signed_in_browser(scene.app, scene.user(who))


def make(scene: Scene, name: str, day: int, **values: Any) -> Any:
    """An inspection on a day of March 2024, of which the clock says that it is the 15th."""
    date = dt.date(2024, 3, day)
    return scene.world.inspection(scene.user("owner"), property={"property_name": name}, date=date, **values)


def test_the_piles_count_open_work_by_its_date(scene: Scene, clock: SettableClock) -> None:
    make(scene, "Late", 14, status="in_progress")
    make(scene, "Done", 14, status="completed")
    make(scene, "Now", 15, assignee=scene.user("technician"))
    for day in (16, 22, 23):
        make(scene, f"On {day}", day, assignee=scene.user("technician"))
    admin = browser_of(scene, "admin")
    assert json_of(admin.get(NUMBERS)) == {"late": "1", "today": "1", "week": "2", "unassigned": "1"}
    assert json_of(browser_of(scene, "technician").get(NUMBERS)) == {
        "late": "0", "today": "1", "week": "2", "unassigned": "0"
    }  # fmt: skip
    assert set(json_of(browser_of(scene, "stranger").get(NUMBERS)).values()) == {"0"}
    page = admin.get(TODAY).text
    assert '<span class="fc-figure" data-number="week">2</span>' in page
    assert page.index(">Late</a>") < page.index(">Now</a>") < page.index(">On 16</a>"), "the earliest first"
    assert ">Done</a></th>" not in page


def test_each_pile_leads_to_its_inspections(scene: Scene, clock: SettableClock) -> None:
    make(scene, "Late", 14)
    make(scene, "Later", 16)
    browser = browser_of(scene, "admin")
    address = "/console/inspections?status=open&amp;date_to=2024-03-14&amp;sort=date"
    assert f'href="{address}"' in browser.get(TODAY).text
    listed = browser.get(address.replace("&amp;", "&")).text
    assert "1 matches" in listed
    assert "Later" not in listed


def test_the_numbers_are_sent_again_only_when_they_differ(scene: Scene, clock: SettableClock) -> None:
    browser = browser_of(scene, "admin")
    tag = browser.get(NUMBERS).headers["ETag"]
    same = browser.get(NUMBERS, {"If-None-Match": tag})
    assert (same.status_code, same.data) == (304, b"")
    make(scene, "Late", 14)
    assert browser.get(NUMBERS, {"If-None-Match": tag}).status_code == 200


def test_people_see_who_changed_what_of_their_inspections(scene: Scene) -> None:
    fill = scene.world.form_fill(scene.inspection)
    item = {"type": "form_fill", "local_id": "1", "data": {"id": fill.id, "data": {"Location_row_1": "Roof"}}}
    push(scene.client("technician"), item)
    for who in ("admin", "owner", "technician"):
        page = " ".join(browser_of(scene, who).get(TODAY).text.split())
        assert "<strong>Technician</strong> changed: form" in page, who
    page = browser_of(scene, "stranger").get(TODAY).text
    assert "Nothing has changed lately." in page
    assert "changed: form" not in page


def test_changes_of_one_transaction_are_one_line(scene: Scene) -> None:
    template = scene.world.template()
    body = {"date": "2024-03-20", "form_template_ids": [template.id, scene.world.template().id]}
    assert scene.client("admin").post("/api/v1/inspections", json=body).status_code == 201
    page = " ".join(browser_of(scene, "admin").get(TODAY).text.split())
    assert "<strong>Admin</strong> added 2: form" in page
    assert page.count("<strong>Admin</strong>") == 2


def test_the_page_takes_a_constant_number_of_statements(scene: Scene) -> None:
    def cost() -> int:
        with statements_of(scene.app) as statements:
            assert browser.get(TODAY).status_code == 200
        return len(statements)

    browser = browser_of(scene, "admin")
    make(scene, "First", 14, assignee=scene.user("technician"))
    few = cost()
    for number in range(15):
        scene.world.form_fill(make(scene, f"P{number}", 20))
    assert cost() == few
    assert few <= 10
