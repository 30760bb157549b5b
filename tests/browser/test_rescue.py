"""A rescue file is read in, by mouse and by keyboard."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from playwright.sync_api import FilePayload, expect

from app.clock import to_wire
from tests.browser.conftest import Open
from tests.browser.sites import Site
from tests.browser.soundness import go_to, page_is_sound
from tests.browser.work import Work, begin


def file_of(work: Work, *items: Any) -> FilePayload:
    """The queue of the technician's phone, as the app saves it."""
    sender = {"id": work.technician.id, "email": work.technician.email}
    document = {"fieldpost_rescue": 1, "user": sender, "device_id": str(uuid4()), "sync_items": items}
    return {"name": "queue.json", "mimeType": "application/json", "buffer": json.dumps(document).encode()}


def test_an_administrator_reads_in_a_file_and_decides_what_was_not_applied(site: Site, open_browser: Open) -> None:
    work = begin(site, "Broken Phone")
    held = to_wire(work.form.updated_at)
    work.send(work.edit(Location="Entrance, right"))
    page = open_browser(site.user("admin"))
    page.goto("/console/set-aside")
    page.get_by_role("link", name="Read in a rescue file").click()
    page.get_by_label("File that the app has saved").set_input_files(
        file_of(work, work.edit(Valve="shut"), work.edit(held, Location="Roof"))
    )
    page.get_by_role("button", name="Read in the file").click()
    told = page.get_by_role("status")
    expect(told).to_contain_text("applied now: 1")
    expect(told).to_contain_text("in conflict: 1")
    page_is_sound(page)
    assert (work.answers["Location"], work.answers["Valve"]) == ("Entrance, right", "shut")
    page.get_by_role("link", name="Decide what was not applied").click()
    expect(page.locator("[data-row]")).to_have_count(1)


def test_a_technician_reads_in_the_own_file_by_keyboard_and_is_told_of_a_wrong_one(
    site: Site, open_browser: Open
) -> None:
    work = begin(site, "Own Phone")
    page = open_browser(work.technician)
    # Chromium tells of choosers while somebody listens. A listener that comes with the key may come too late.
    page.on("filechooser", lambda _chooser: None)
    page.goto("/console/rescue")
    wrong: FilePayload = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"notes"}
    for file in (wrong, file_of(work, work.edit(Valve="shut"))):
        go_to(page, page.get_by_label("File that the app has saved"))
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files(file)
        go_to(page, page.get_by_role("button", name="Read in the file"))
        page.keyboard.press("Enter")
        if file is wrong:
            expect(page.get_by_role("alert")).to_be_focused()
            page_is_sound(page)
    expect(page.get_by_role("status")).to_contain_text("applied now: 1")
    assert work.answers["Valve"] == "shut"
