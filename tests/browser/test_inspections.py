"""The console's list of inspections, and the work that supervisors do from it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Dialog, Page, expect

from app.models import Inspection, User
from tests.browser.conftest import Open
from tests.browser.sites import Site
from tests.browser.soundness import go_to, page_is_sound

#: It would open a dialog, or be an element, wherever it became markup.
MARKUP = "'\"></title></textarea><img src=x onerror=alert(1)><i data-injected>"


@pytest.fixture
def admin(site: Site) -> User:
    return site.user("admin", name="Ada Office")


def make(site: Site, owner: User, place: str, number: int = 1, assignee: User | None = None) -> list[Inspection]:
    """Inspections of a place, which tests find by its name."""
    return [site.world.inspection(owner, assignee, property={"property_name": place}) for _ in range(number)]


def rows(page: Page) -> int:
    """The rows of the list, without the head."""
    return page.get_by_role("row").count() - 1


def assignee_of(site: Site, inspection: Inspection) -> int | None:
    """The id of the technician who has the inspection now."""
    found: Inspection = site.world.get(Inspection, inspection.id)
    return found.assignee_id


def choose_row(page: Page, number: int) -> None:
    page.locator("tbody").get_by_role("checkbox").nth(number).check()


def test_a_long_list_is_filtered_and_paged_and_its_address_can_be_shared(
    site: Site, open_browser: Open, admin: User
) -> None:
    make(site, admin, "Lighthouse", 52)
    make(site, admin, "City Library")
    page = open_browser(admin)
    page.goto("/console/inspections")
    page.get_by_text("Filter and search").click()
    page.get_by_label("Text", exact=True).fill("lighthouse")
    page.get_by_label("Status").select_option("pending")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("52 match")).to_be_visible()
    assert rows(page) == 50
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("link", name="Previous")).to_be_visible()
    assert rows(page) == 2
    other = open_browser(site.user("admin"))
    other.goto(page.url)
    assert rows(other) == 2
    page.get_by_role("link", name="Previous").click()
    expect(page.get_by_role("link", name="Next")).to_be_visible()
    assert rows(page) == 50
    page.goto("/console/inspections?q=nowhere-at-all&owner_id=somebody")
    expect(page.get_by_role("alert")).to_be_focused()
    page_is_sound(page)


def test_keys_search_and_show_the_keys(site: Site, open_browser: Open, admin: User) -> None:
    make(site, admin, "Keyboard Hall")
    page = open_browser(admin)
    page.goto("/console/inspections")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page_is_sound(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.get_by_label("Text", exact=True)).to_be_focused()
    page.keyboard.type("keyboard hall?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 matches")).to_be_visible()
    expect(page.get_by_role("rowheader", name="Keyboard Hall")).to_be_visible()
    page.get_by_role("checkbox", name="Keyboard Hall").check()
    page.keyboard.press("/")
    expect(page.get_by_label("Text", exact=True)).to_be_focused()


def test_chosen_inspections_are_assigned_with_the_mouse(site: Site, open_browser: Open, admin: User) -> None:
    technician, chosen = site.user(name="Theo Technician"), make(site, admin, "Chosen", 3)
    page = open_browser(admin)
    page.goto("/console/inspections?q=Chosen")
    choose_row(page, 0)
    choose_row(page, 1)
    page.get_by_label("Assign to", exact=True).select_option(str(technician.id))
    page.get_by_role("button", name="Assign the chosen 2").click()
    expect(page.get_by_role("status")).to_have_text("2 inspections are assigned.")
    expect(page.get_by_label("Text", exact=True)).to_have_value("Chosen")
    assert [assignee_of(site, each) for each in chosen].count(technician.id) == 2
    page_is_sound(page)


def test_all_that_match_are_assigned_with_the_keyboard_after_a_question(
    site: Site, open_browser: Open, admin: User
) -> None:
    technician, matching = site.user(name="Maria Mobile"), make(site, admin, "Matching", 4)
    page = open_browser(admin)
    page.goto("/console/inspections?q=Matching")
    go_to(page, page.get_by_label("Assign to", exact=True))
    page.keyboard.type("Maria")
    go_to(page, page.get_by_role("button", name="Assign all 4"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("All 4 inspections that match the filters go to Maria Mobile.")).to_be_visible()
    go_to(page, page.get_by_role("button", name="Assign 4"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("4 inspections are assigned.")
    assert {assignee_of(site, each) for each in matching} == {technician.id}


def test_a_supervisor_is_asked_again_if_another_has_changed_the_list(
    site: Site, open_browser: Open, admin: User
) -> None:
    matching = make(site, admin, "Both Offices", 2)
    page = open_browser(admin)
    page.goto("/console/inspections?q=Both+Offices")
    page.get_by_role("button", name="Assign all 2").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Assign inspections")
    other = open_browser(site.user("admin"))
    other.goto(f"/console/inspections/{matching[0].id}/delete")
    other.get_by_label("Type the name to confirm").fill("Both Offices")
    other.get_by_role("button", name="Delete for good").click()
    expect(other.get_by_role("status")).to_have_text("Both Offices is deleted.")
    page.get_by_role("button", name="Assign 2").click()
    expect(page.get_by_role("alert")).to_contain_text("Another number of inspections matches by now.")
    page_is_sound(page)
    page.get_by_role("button", name="Assign 1").click()
    expect(page.get_by_role("status")).to_have_text("1 inspection is assigned.")


def test_an_inspection_is_made_with_the_keyboard(site: Site, open_browser: Open, admin: User) -> None:
    template = site.world.template(name=f"Sprinkler {MARKUP}")
    page = open_browser(admin)
    page.goto("/console/inspections")
    go_to(page, page.get_by_role("link", name="New inspection"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("New inspection")
    go_to(page, page.get_by_role("button", name="Create the inspection"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_focused()
    page_is_sound(page)
    go_to(page, page.locator(f"[name=form_template_ids][value='{template.id}']"))
    page.keyboard.press("Space")
    go_to(page, page.get_by_role("group", name="Property").get_by_label("Name"))
    page.keyboard.type("Made by keys")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("The inspection is created.")
    expect(page.get_by_role("rowheader", name="Made by keys")).to_be_visible()


def test_an_inspection_is_canceled_and_deleted(site: Site, open_browser: Open, admin: User) -> None:
    (inspection,) = make(site, admin, "Old Mill")
    page = open_browser(admin)
    page.goto(f"/console/inspections/{inspection.id}/cancel")
    page.get_by_role("button", name="Cancel the inspection").click()
    expect(page.get_by_role("status")).to_have_text("The inspection is canceled.")
    page.goto(f"/console/inspections/{inspection.id}/delete")
    page.get_by_label("Type the name to confirm").fill("Old Mile")
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_role("alert")).to_be_focused()
    page_is_sound(page)
    assert site.world.get(Inspection, inspection.id) is not None
    page.get_by_label("Type the name to confirm").fill("Old Mill")
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_role("status")).to_have_text("Old Mill is deleted.")
    assert site.world.get(Inspection, inspection.id) is None


def test_technicians_and_owners_see_theirs_alone(site: Site, open_browser: Open, admin: User) -> None:
    owner, technician = site.user("user", name="Olga Owner"), site.user(name="Theo Technician")
    make(site, owner, "Shared House", assignee=technician)
    make(site, admin, "Elsewhere House")
    for user, number in ((owner, 1), (technician, 1), (site.user(), 0)):
        page = open_browser(user)
        page.goto("/console/inspections?q=House")
        assert max(rows(page), 0) == number
        expect(page.get_by_text("Elsewhere House")).to_have_count(0)
        expect(page.get_by_role("link", name="New inspection")).to_have_count(0)
    page_is_sound(page)


def test_what_people_type_stays_text(site: Site, open_browser: Open) -> None:
    admin = site.user("admin", name=f"Ada {MARKUP}")
    (inspection,) = make(site, admin, f"Place {MARKUP}", assignee=site.user(name=f"Theo {MARKUP}"))
    page = open_browser(admin)
    dialogs: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    for address in (
        "/console/inspections?q=Place",
        "/my-account",
        f"/console/inspections/{inspection.id}/delete",
        f"/console/inspections/{inspection.id}/cancel",
    ):
        page.goto(address)
        expect(page.locator("[data-injected], img[src=x]")).to_have_count(0)
        expect(page.get_by_role("link", name="my account")).to_contain_text("data-injected")
        page_is_sound(page)
    assert dialogs == []


def test_five_megabytes_in_a_field_are_refused_and_nothing_is_made(site: Site, open_browser: Open, admin: User) -> None:
    template = site.world.template()
    page, before = open_browser(admin), len(site.world.all(Inspection))
    page.goto("/console/inspections/new")
    page.locator(f"[name=form_template_ids][value='{template.id}']").check()
    page.get_by_label("Notes").evaluate("each => each.value = 'a'.repeat(5_000_000)")
    page.get_by_role("button", name="Create the inspection").click()
    expect(page.get_by_role("alert")).to_contain_text("Notes")
    assert len(site.world.all(Inspection)) == before
