"""The console's pages on users, plugins, devices and the health of syncing."""

from __future__ import annotations

import re
from io import BytesIO
from uuid import uuid4

import pytest
from fieldpost_console.pages.users import CHARACTERS, random_password
from flask import Flask
from werkzeug.test import TestResponse

from app.config import API_PREFIX
from app.models import ACTIONS, SignIn, User
from app.testing import Scene, push, sign_in, statements_of
from tests.conftest import SettableClock
from tests.pages.browser import Browser, Form, signed_in_browser
from tests.support.cases import cases
from tests.support.pictures import jpeg

#: The statements of all pages run on both databases in `tests/pages/test_matrix.py`.
pytestmark = pytest.mark.database("sqlite")

USERS, DEVICES, AUDIT = "/console/users", "/console/devices", "/console/audit"

FOR_ADMINISTRATORS = (*(USERS, f"{USERS}/new", f"{USERS}/1", "/console/plugins", "/console/sync-health", AUDIT),)


@pytest.fixture
def scene(app: Flask) -> Scene:
    return Scene(app)


def browser_of(scene: Scene, who: str) -> Browser:
    return signed_in_browser(scene.app, scene.user(who))


@pytest.fixture
def office(scene: Scene) -> Browser:
    return browser_of(scene, "admin")


def names(browser: Browser, query: str = "") -> list[str]:
    """The names in the list, in order."""
    return re.findall(r'<a data-row href="/console/users/\d+">([^<]*)</a>', browser.get(f"{USERS}?{query}").text)


def post(browser: Browser, address: str, values: dict[str, str]) -> TestResponse:
    """Send a form of the browser's session."""
    token = Form(browser.get("/my-account").text, "/sign-out").fields
    return browser.post(address, token | values)


def password_in(text: str) -> str:
    (password,) = re.findall(r'<code class="fc-secret">([^<]+)</code>', text)
    return str(password)


@cases("who", ["technician", "owner"])
@cases("address", FOR_ADMINISTRATORS)
def test_only_administrators_open_them(scene: Scene, who: str, address: str) -> None:
    browser = browser_of(scene, who)
    assert browser.get(address).status_code == 403
    assert f'href="{address}"' not in browser.get(DEVICES).text


@pytest.mark.parametrize("path", ["new", "1", "1/active", "1/password"])
def test_only_administrators_change_users(scene: Scene, path: str) -> None:
    before = scene.world.all(User)
    browser = browser_of(scene, "owner")
    answer = post(browser, f"{USERS}/{path}", {"name": "X", "role": "admin", "email": "x@example.com", "active": "0"})
    assert answer.status_code == 403
    assert len(scene.world.all(User)) == len(before) + 1, "the owner, who has signed in"


def test_the_list_is_in_the_order_of_names_and_filtered(scene: Scene, office: Browser) -> None:
    scene.world.user("b@example.com", name="Berta")
    scene.world.user("a@example.com", role="user", name="Anna", active=False)
    assert [name for name in names(office) if name in ("Anna", "Berta")] == ["Anna", "Berta"]
    assert names(office, "q=BERT") == names(office, "q=b%40example") == ["Berta"]
    assert names(office, "state=inactive&role=user") == ["Anna"]
    assert names(office, "q=%25") == []


def test_a_new_user_signs_in_with_the_password_that_was_shown(scene: Scene, office: Browser) -> None:
    answer = post(office, f"{USERS}/new", {"email": " New@Example.com ", "name": "N <b>", "role": "technician"})
    assert answer.status_code == 200
    assert "N &lt;b&gt; is added" in answer.text
    credentials = {"email": "new@example.com", "password": password_in(answer.text)}
    assert scene.app.test_client().post(f"{API_PREFIX}/auth/login", json=credentials).status_code == 200


@cases(
    ("given", "field"),
    [
        ({"email": "no address", "name": "N", "role": "user"}, "email"),
        ({"email": "TAKEN", "name": "N", "role": "user"}, "email"),
        ({"email": "n@example.com", "name": "  ", "role": "user"}, "name"),
        ({"email": "n@example.com", "name": "N", "role": "king"}, "role"),
    ],
)
def test_a_fault_leads_to_its_field_and_keeps_what_was_typed(
    scene: Scene, office: Browser, given: dict[str, str], field: str
) -> None:
    count = len(scene.world.all(User))
    answer = post(office, f"{USERS}/new", given | {"email": given["email"].replace("TAKEN", scene.user("admin").email)})
    assert answer.status_code == 422
    assert f'href="#{field}"' in answer.text
    assert f'id="{field}-faults"' in answer.text
    assert len(scene.world.all(User)) == count


def test_a_change_of_role_counts_and_a_stale_one_keeps_what_was_chosen(scene: Scene, office: Browser) -> None:
    person = scene.world.user("p@example.com", name="Pat")
    page = office.get(f"{USERS}/{person.id}").text
    (version,) = re.findall(r'name="updated_at" value="([^"]+)"', page)
    changed = {"name": "Pat", "role": "user", "updated_at": version}
    assert post(office, f"{USERS}/{person.id}", changed).status_code == 303
    assert scene.world.get(User, person.id).role == "user"
    stale = post(
        office, f"{USERS}/{person.id}", {"name": "Patricia", "role": "admin", "updated_at": "2020-01-01T00:00:00Z"}
    )
    assert stale.status_code == 409
    assert 'value="Patricia"' in stale.text
    assert "Now they are: Pat, owner." in stale.text
    assert scene.world.get(User, person.id).name == "Pat"


def test_a_deactivated_user_is_out_at_once_and_comes_back(scene: Scene, office: Browser) -> None:
    person = scene.world.user("p@example.com")
    phone = sign_in(scene.app, person)
    address = f"{USERS}/{person.id}/active"
    assert post(office, address, {"active": "0"}).status_code == 303
    assert phone.get(f"{API_PREFIX}/auth/me").status_code == 401
    assert "deactivated" in office.get(f"{USERS}/{person.id}").text
    assert post(office, address, {"active": "1"}).status_code == 303
    assert scene.world.get(User, person.id).active


def test_the_last_administrator_stays(scene: Scene, office: Browser) -> None:
    admin = scene.user("admin")
    answer = post(office, f"{USERS}/{admin.id}/active", {"active": "0"})
    assert answer.status_code == 422
    assert "This is the last active administrator." in answer.text


def test_an_erased_person_stays_so(scene: Scene, office: Browser) -> None:
    person = scene.world.user("p@example.com")
    scene.app.test_cli_runner().invoke(args=["privacy", "erase", person.email, "--yes"])
    answer = post(office, f"{USERS}/{person.id}/active", {"active": "1"})
    assert answer.status_code == 422
    assert "This person was erased. Add a new user instead." in answer.text


def test_a_new_password_is_shown_once_and_ends_the_sign_ins(scene: Scene, office: Browser) -> None:
    person = scene.world.user("p@example.com")
    phone = sign_in(scene.app, person)
    answer = post(office, f"{USERS}/{person.id}/password", {})
    password = password_in(answer.text)
    assert phone.get(f"{API_PREFIX}/auth/me").status_code == 401
    assert password not in office.get(f"{USERS}/{person.id}").text
    assert answer.headers["Cache-Control"] == "no-store"
    credentials = {"email": "p@example.com", "password": password}
    assert scene.app.test_client().post(f"{API_PREFIX}/auth/login", json=credentials).status_code == 200


def test_a_user_s_page_tells_how_much_room_their_photos_take(scene: Scene, office: Browser) -> None:
    form_fill, person = scene.world.form_fill(scene.inspection), scene.user("technician")
    assert "0 Bytes" in office.get(f"{USERS}/{person.id}").text
    form = {"form_fill_id": str(form_fill.id), "field_name": "Riser_Photo", "photo": (BytesIO(jpeg()), "p.jpg")}
    assert sign_in(scene.app, person).post(f"{API_PREFIX}/sync/upload_photo", data=form).status_code == 200
    assert f"{len(jpeg())} Bytes" in office.get(f"{USERS}/{person.id}").text


def test_random_passwords_are_long_and_never_the_same() -> None:
    passwords = {random_password() for _ in range(100)}
    assert len(passwords) == 100
    assert all(re.fullmatch(rf"(?:[{CHARACTERS}]{{4}}-){{3}}[{CHARACTERS}]{{4}}", each) for each in passwords)


def test_the_page_on_plugins_shows_types_and_settings_and_no_secret(scene: Scene, office: Browser) -> None:
    text = office.get("/console/plugins").text
    assert "form_fill" in text
    assert "FIELDPOST_RETRY_DAYS" in text
    assert scene.app.config["JWT_SECRET_KEY"] not in text


def report(scene: Scene, who: str, **values: object) -> None:
    phone = sign_in(scene.app, scene.user(who), str(uuid4()))
    assert phone.post(f"{API_PREFIX}/sync/device", json=values).status_code == 200


def test_devices_show_their_reports_to_those_who_may_see_them(scene: Scene, office: Browser) -> None:
    report(scene, "technician", name="<Pixel>", waiting_items=1, waiting_photos=41, last_error="no <b>network</b>")
    text = office.get(DEVICES).text
    assert "&lt;Pixel&gt;" in text
    assert "1 change, 41 photos" in text
    assert "no &lt;b&gt;network&lt;/b&gt;" in text
    assert "&lt;Pixel&gt;" in browser_of(scene, "technician").get(DEVICES).text
    assert "&lt;Pixel&gt;" not in browser_of(scene, "owner").get(DEVICES).text
    assert "&lt;Pixel&gt;" not in office.get(f"{DEVICES}?q=Galaxy").text


def test_a_late_device_says_why_and_leads_to_its_work(scene: Scene, office: Browser, clock: SettableClock) -> None:
    report(scene, "technician", name="Silent one", waiting_items=1, set_aside=8)
    clock.forward(days=10)
    office.sign_in(scene.user("admin"))
    text = office.get(DEVICES).text
    assert "silent, and work waits on it" in text
    assert f'href="/console/set-aside?user_id={scene.user("technician").id}">8 set aside</a>' in text


def test_photos_that_are_announced_and_not_here_are_told_with_their_users(scene: Scene, office: Browser) -> None:
    address = "/console/sync-health"
    assert "Photos announced" not in office.get(address).text
    report(scene, "technician", waiting_photos=41)
    report(scene, "owner", waiting_photos=2)
    text = office.get(address).text
    assert "<strong>43</strong> by the last reports of the devices." in text
    assert scene.user("technician").name in text


def test_a_device_is_signed_out_from_the_page(scene: Scene, office: Browser) -> None:
    phone = sign_in(scene.app, scene.user("technician"), str(uuid4()))
    (address,) = re.findall(r'action="(/console/devices/[^"]+/sign-out)"', office.get(DEVICES).text)
    assert post(browser_of(scene, "owner"), address, {}).status_code == 404
    assert phone.get(f"{API_PREFIX}/auth/me").status_code == 200
    assert post(office, address, {}).status_code == 303
    assert phone.get(f"{API_PREFIX}/auth/me").status_code == 401
    assert any(row.revoked_at for row in scene.world.all(SignIn))


def test_numbers_that_have_not_changed_are_not_sent_again(office: Browser) -> None:
    first = office.get(f"{DEVICES}/numbers")
    assert first.get_json() == {"late": "0"}
    again = office.get(f"{DEVICES}/numbers", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("days", [1, 7, 30])
def test_the_health_of_syncing_shows_its_counts(scene: Scene, office: Browser, days: int) -> None:
    address = f"/console/sync-health?days={days}"
    assert "No device has sent anything in this period." in office.get(address).text
    phone = sign_in(scene.app, scene.user("technician"), str(uuid4()))
    push(phone, {"type": "unheard_of", "local_id": "1", "data": {}})
    text = office.get(address).text
    assert "no such type here" in text
    assert len(re.findall(r"<rect x=", text)) == {1: 24, 7: 7, 30: 30}[days]


def test_the_audit_log_shows_and_filters_what_was_done(scene: Scene, office: Browser) -> None:
    person = scene.world.user("p@example.com", name="<i>Pat")
    assert office.send(f"{USERS}/{person.id}", f"{USERS}/{person.id}", {"role": "user"}).status_code == 303
    people = {"owner_id": person.id, "assignee_id": None}
    scene.client("admin").patch(f"{API_PREFIX}/inspections/{scene.inspection.id}", json=people)
    wrong = {"email": person.email, "password": "not the password"}
    for _ in range(2):
        scene.app.test_client().post(f"{API_PREFIX}/auth/login", json=wrong)
    office.get("/console/exports/inspections.csv?q=%3Cb%3E")
    text = office.get(AUDIT).text
    rows = [re.sub(r"<[^>]+>|\s+", " ", row) for row in re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)[1:]]
    assert re.findall(r'<th scope="row"[^>]*>([^<]+)<', text) == [
        *("took out a list", "wrong password or address", "assigned an inspection", "signed in", "changed a role"),
        "signed in",
    ]
    assert "file: inspections.csv, filters: Q: &lt;b&gt;" in rows[0]
    assert "2 times, until" in rows[1]
    assert "owner: &lt;i&gt;Pat, technician: nobody" in rows[2]
    assert "before: technician, now: owner" in rows[4]
    assert "&lt;i&gt;Pat" in rows[4]
    assert scene.user("admin").email in rows[4]
    admin = scene.user("admin").id
    assert rows_of(office, f"actor_id={admin}&action=exported&date_from=2024-03-15&date_to=2024-03-15") == 1
    assert rows_of(office, "date_from=2024-03-16") == rows_of(office, "date_to=2024-03-14") == 0
    assert office.get(f"{AUDIT}?action=sleep&date_to=9999-12-31").status_code == 400


def rows_of(office: Browser, query: str) -> int:
    return office.get(f"{AUDIT}?{query}").text.count('<th scope="row"')


def test_the_audit_log_has_words_for_all_that_it_can_tell_of(office: Browser) -> None:
    labels = dict(re.findall(r'<option value="([a-z_]+)">([^<]+)<', office.get(AUDIT).text))
    assert {*ACTIONS} <= {*labels}


@pytest.mark.parametrize("address", [USERS, DEVICES, "/console/sync-health", AUDIT])
def test_a_page_takes_the_same_statements_however_much_there_is(
    app: Flask, scene: Scene, office: Browser, address: str
) -> None:
    office.get(address)
    counts = []
    for number in range(2):
        with statements_of(app) as statements:
            office.get(address)
        counts.append(len(statements))
        for place in range(12 if number == 0 else 0):
            sign_in(app, scene.world.user(f"t{place}@example.com"), str(uuid4()))
    assert counts[0] == counts[1]
