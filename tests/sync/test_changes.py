"""`GET /sync/changes`: the walk, then the feed; pages, cursors, what comes and goes with one's sight (section 6)."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app import create_app
from app.extensions import db
from app.ledger.record import Origin, record
from app.models import Attachment, FormFill, Inspection, LedgerState, User
from app.testing import push
from tests.conftest import SignIn, World
from tests.databases import feed_held_back
from tests.sync.conftest import edit
from tests.sync.copies import CHANGES, Copy, assign, of


@pytest.fixture
def office(world: World, sign_in: SignIn) -> FlaskClient:
    return sign_in(world.user("office@example.com", "admin"))


def test_the_walk_lists_what_one_sees_parents_first_and_then_nothing_more(
    world: World, device: FlaskClient, sign_in: SignIn, form_fill: FormFill, inspection: Inspection
) -> None:
    photo = world.attachment(form_fill)
    world.form_fill(world.inspection(world.user("x@example.com")))
    copy = Copy(device)
    assert copy.read() == [of("upsert", inspection), of("upsert", form_fill), of("upsert", photo)]
    assert copy.read() == []
    assert Copy(sign_in(world.user("stranger@example.com"))).read() == []


def test_records_are_shaped_as_in_the_package(
    world: World, device: FlaskClient, form_fill: FormFill, inspection: Inspection
) -> None:
    world.attachment(form_fill)
    copy = Copy(device)
    copy.read()
    answer = device.get(f"/api/v1/inspections/{inspection.id}/offline_data").json
    package: Any = answer["data"]  # type: ignore[index]
    (form,) = package["form_fills"]
    (photo,) = form.pop("photos")
    shown = {each["entity"]: each["record"] for each in copy.changes}
    assert shown == {
        "inspection": package["inspection"],
        "form_fill": form,
        "attachment": {**photo, "form_fill_id": form_fill.id},
    }
    assert {each["updated_at"] for each in copy.changes} == {"2024-03-15T10:30:00.000Z"}


def test_a_change_comes_once_in_its_present_state(device: FlaskClient, other: FlaskClient, form_fill: FormFill) -> None:
    copy = Copy(device)
    copy.read()
    for number in range(5):
        push(other, edit(form_fill, a=number))
    assert copy.read() == [of("upsert", form_fill)]
    assert copy.changes[0]["record"]["data"] == {"a": 4, "b": 0}
    assert copy.read() == []


@pytest.mark.parametrize("limit", [1, 2, 7, 500])
def test_an_assignment_brings_everything_below_however_old_in_pages_of_any_size(
    world: World, office: FlaskClient, sign_in: SignIn, owner: User, limit: int
) -> None:
    newcomer = world.user("newcomer@example.com")
    inspection, template = world.inspection(owner), world.template()
    forms = [world.form_fill(inspection, template) for _ in range(6)]
    photos = [world.attachment(form) for form in forms for _ in range(2)]
    copy = Copy(sign_in(newcomer), limit)
    assert copy.read() == []
    assign(office, inspection, newcomer)
    found = copy.read()
    assert set(copy.rows) == {(each.__entity__.name, each.id) for each in [inspection, *forms, *photos]}
    assert Counter(found).most_common(1)[0][1] == 1
    assign(office, inspection, None)
    assert copy.read() == [of("remove", inspection)]
    assert copy.rows == {}


def test_a_change_while_a_cursor_stands_inside_an_assignment_is_not_missed(
    world: World, office: FlaskClient, other: FlaskClient, sign_in: SignIn, owner: User
) -> None:
    newcomer = world.user("newcomer@example.com")
    inspection, template = world.inspection(owner), world.template()
    forms = [world.form_fill(inspection, template, data={}) for _ in range(10)]
    copy = Copy(sign_in(newcomer), 3)
    copy.read()
    assign(office, inspection, newcomer)
    for form in forms:
        copy.page()
        push(other, edit(form, a="late"))
    new = world.form_fill(inspection, template, data={})
    copy.read()
    assert len(copy.rows) == 12
    assert {row["data"].get("a") for key, row in copy.rows.items() if key == ("form_fill", forms[0].id)} == {"late"}
    assert all(copy.rows["form_fill", form.id]["data"] == {"a": "late"} for form in forms)
    assert ("form_fill", new.id) in copy.rows


def test_what_was_deleted_or_taken_away_is_removed_for_those_who_saw_it_only(
    world: World, office: FlaskClient, device: FlaskClient, other: FlaskClient, sign_in: SignIn, form_fill: FormFill
) -> None:
    stranger = Copy(sign_in(world.user("stranger@example.com")))
    copies = [Copy(device), Copy(other), Copy(office)]
    for copy in [*copies, stranger]:
        copy.read()
    assert office.delete(f"/api/v1/inspections/{form_fill.inspection_id}").status_code == 200
    for copy in copies:
        assert ("remove", "inspection", form_fill.inspection_id) in copy.read()
        assert copy.rows == {}
    assert stranger.read() == []


def test_an_attachment_comes_with_its_form_fill_and_goes_as_remove(
    world: World, device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    copy = Copy(device)
    copy.read()
    photo = world.attachment(form_fill)
    assert copy.read() == [of("upsert", form_fill), of("upsert", photo)]
    assert copy.rows["form_fill", form_fill.id]["data"]["Riser_Photo_photo_attachment_id"] == [photo.id]
    data = {"form_fill_id": form_fill.id, "field_name": "Riser_Photo"}
    push(other, {"type": "photo_delete", "local_id": "x", "data": data})
    assert copy.read() == [of("upsert", form_fill), of("remove", photo)]
    assert "Riser_Photo_photo_attachment_id" not in copy.rows["form_fill", form_fill.id]["data"]


def test_a_row_that_was_made_and_deleted_between_two_pages_comes_as_remove_at_most(
    world: World, office: FlaskClient, device: FlaskClient, owner: User, tech: User
) -> None:
    copy = Copy(device)
    copy.read()
    inspection = world.inspection(owner, tech)
    office.delete(f"/api/v1/inspections/{inspection.id}")
    assert set(copy.read()) <= {of("remove", inspection)}


def test_the_cursor_moves_on_though_nothing_concerned_the_user(
    app: Flask, world: World, device: FlaskClient, owner: User
) -> None:
    copy = Copy(device)
    copy.read()
    before = copy.cursor
    world.form_fill(world.inspection(owner))
    assert copy.read() == []
    assert copy.cursor != before, "else it would be pruned one day"


@pytest.mark.parametrize("limit", ["0", "-1", "1000000000", "1e3", "", "x", "5001", "1.5", "٣"])
def test_a_limit_out_of_range_is_refused_and_named(device: FlaskClient, limit: str) -> None:
    answer = device.get(f"{CHANGES}?limit={quote(limit)}")
    assert (answer.status_code, answer.json["code"]) == (400, "invalid")  # type: ignore[index]
    assert set(answer.json["details"]) == {"limit"}  # type: ignore[index]


# Cursors


def expired(client: FlaskClient, cursor: str) -> str:
    """The reason why a cursor is refused."""
    answer = client.get(f"{CHANGES}?cursor={quote(cursor)}")
    assert (answer.status_code, answer.json["code"]) == (410, "cursor_expired"), answer.json  # type: ignore[index]
    assert "Start again without a cursor" in answer.json["message"]  # type: ignore[index]
    return str(answer.json["error"])  # type: ignore[index]


@pytest.fixture
def cursor(device: FlaskClient, form_fill: FormFill) -> str:
    copy = Copy(device)
    copy.read()
    assert copy.cursor is not None
    return copy.cursor


def test_a_cursor_that_is_not_one_of_ours_has_expired(device: FlaskClient, cursor: str) -> None:
    body, _, signature = cursor.rpartition(".")
    for wrong in ("x", "\0", "é", cursor[:-1], cursor[1:], body, f"{body}.{signature[::-1]}", f"x{cursor}", "." * 5000):
        assert "not one of this server's" in expired(device, wrong)


def test_a_cursor_is_its_users_alone(other: FlaskClient, cursor: str) -> None:
    assert "another user's" in expired(other, cursor)


def test_a_cursor_from_before_a_change_of_role_has_expired(
    office: FlaskClient, device: FlaskClient, tech: User, cursor: str
) -> None:
    assert office.patch(f"/api/v1/users/{tech.id}", json={"role": "user"}).status_code == 200
    assert "role" in expired(device, cursor)


def test_a_cursor_carries_on_across_a_restart(
    environment: dict[str, str], world: World, sign_in: SignIn, device: FlaskClient, cursor: str, tech: User, clock: Any
) -> None:
    app = create_app(environment, clock)
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = device.environ_base["HTTP_AUTHORIZATION"]
    copy = Copy(client)
    copy.cursor = cursor
    assert copy.read() == []
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize("more", [0, 1, 5])
@pytest.mark.database("sqlite")
def test_a_cursor_from_before_a_restore_has_expired(
    app: Flask,
    environment: dict[str, str],
    world: World,
    device: FlaskClient,
    other: FlaskClient,
    form_fill: FormFill,
    more: int,
) -> None:
    copy = Copy(device)
    copy.read()
    with app.app_context():
        db.engine.dispose()
    path = Path(environment["FIELDPOST_DATA_DIR"]) / "fieldpost.sqlite3"
    shutil.copy(path, path.with_suffix(".backup"))
    push(other, edit(form_fill, a="lost"))
    copy.read()
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
    for each in path.parent.glob("fieldpost.sqlite3-*"):
        each.unlink()
    shutil.copy(path.with_suffix(".backup"), path)
    # As many changes as were lost, and more, make ids that the cursor knows: its tag is another.
    for number in range(more):
        push(other, edit(form_fill, a=f"new {number}"))
    assert copy.cursor is not None
    assert "restored" in expired(device, copy.cursor)


@pytest.mark.database("postgresql")
def test_a_move_to_another_cluster_expires_all_cursors_and_the_feed_goes_on(
    app: Flask, device: FlaskClient, other: FlaskClient, form_fill: FormFill, cursor: str
) -> None:
    """As after dump and restore into another cluster, where transaction ids start anew."""
    with app.app_context():
        db.session.execute(text("UPDATE ledger_state SET cluster = 'another'"))
        db.session.execute(text("UPDATE ledger_entries SET xid = xid + 1000000"))
        db.session.commit()
    assert device.get(CHANGES).status_code == 503, "once"
    assert "history" in expired(device, cursor)
    copy = Copy(device)
    copy.read()
    push(other, edit(form_fill, a="after"))
    assert copy.read() == [of("upsert", form_fill)]


def test_a_cursor_in_what_was_pruned_has_expired(app: Flask, world: World, device: FlaskClient, cursor: str) -> None:
    world.inspection(world.user("x@example.com"))
    with app.app_context():
        last = db.session.execute(text("SELECT xid, id FROM ledger_entries ORDER BY id DESC LIMIT 1")).one()
        state = db.session.get_one(LedgerState, 1)
        state.pruned_xid, state.pruned_id = last
        db.session.commit()
    assert "pruned" in expired(device, cursor)


# Nothing is skipped


@pytest.mark.database("postgresql")
def test_what_is_committed_late_though_begun_early_is_not_skipped(
    app: Flask, world: World, device: FlaskClient, form_fill: FormFill, inspection: Inspection
) -> None:
    late = world.form_fill(inspection, data={})
    copy = Copy(device)
    copy.read()
    begun, finish = threading.Event(), threading.Event()

    def work(recorder: Any) -> None:
        recorder.session.execute(text("SELECT pg_current_xact_id()"))
        recorder.change(recorder.session.get(FormFill, late.id), {"a": "late"})
        recorder.write()
        begun.set()
        assert finish.wait(20)

    def run() -> None:
        with app.app_context():
            record("test.late", Origin(door="cli"), work)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(20)
    push(device, edit(form_fill, a="early"))
    found = [copy.read(settled=False)]
    finish.set()
    thread.join()
    found.append(copy.read())
    assert {each for page in found for each in page} == {of("upsert", form_fill), of("upsert", late)}
    assert copy.rows["form_fill", late.id]["data"] == {"a": "late"}


@pytest.mark.parametrize("limit", [1, 2, 500])
@pytest.mark.database("postgresql")
def test_a_walk_is_complete_though_an_open_transaction_holds_the_feed_back(
    app: Flask,
    world: World,
    office: FlaskClient,
    device: FlaskClient,
    owner: User,
    tech: User,
    form_fill: FormFill,
    inspection: Inspection,
    limit: int,
) -> None:
    """Else a device that starts again would discard what it has just made, and what a change was made on."""
    old = world.form_fill(world.inspection(owner), data={})
    with feed_held_back(app):
        new = {"inspection_id": inspection.id, "form_template_id": form_fill.form_template_id}
        (made,) = push(device, {"type": "form_fill", "local_id": "new", "data": new})["success"]
        photo = world.attachment(form_fill)
        assign(office, world.get(Inspection, old.inspection_id), tech)
        expected = {
            ("inspection", inspection.id), ("inspection", old.inspection_id), ("form_fill", form_fill.id),
            ("form_fill", old.id), ("form_fill", made["server_id"]), ("attachment", photo.id),
        }  # fmt: skip
        copy = Copy(device, limit)
        copy.read(settled=False)
        assert copy.rows.keys() == expected
        assert copy.read(settled=False) == []
    copy.read()
    assert copy.rows.keys() == expected


@pytest.mark.database("postgresql")
def test_what_is_made_and_assigned_during_a_walk_comes_after_its_parents_though_the_feed_is_held_back(
    app: Flask, world: World, office: FlaskClient, device: FlaskClient, owner: User, tech: User, form_fill: FormFill
) -> None:
    old = world.form_fill(world.inspection(owner), data={})
    with feed_held_back(app):
        copy = Copy(device, limit=1)
        copy.page()
        assign(office, world.get(Inspection, old.inspection_id), tech)
        new = world.attachment(world.form_fill(world.inspection(owner, tech), data={}))
        copy.read(settled=False)
        assert copy.rows.keys() == {("inspection", form_fill.inspection_id), ("form_fill", form_fill.id)}
    copy.read()
    assert copy.rows.keys() >= {("form_fill", old.id), ("attachment", new.id)}
    assert len(copy.rows) == 7


def test_readers_collect_all_that_writers_write_meanwhile(
    app: Flask, world: World, sign_in: SignIn, tech: User, owner: User, inspection: Inspection
) -> None:
    template = world.template()
    forms = [world.form_fill(inspection, template, data={}) for _ in range(8)]
    end = time.monotonic() + 3
    copies = [Copy(sign_in(tech if number % 2 else owner), limit=3 + number) for number in range(4)]
    failures: list[BaseException] = []

    def write(number: int, client: FlaskClient) -> None:
        count = 0
        while time.monotonic() < end:
            count += 1
            client.post("/api/v1/sync", json={"sync_items": [edit(each, **{f"w{number}": count}) for each in forms]})

    def read(copy: Copy) -> None:
        try:
            while time.monotonic() < end:
                copy.page()
        except BaseException as error:
            failures.append(error)

    clients = [sign_in(owner) for _ in range(4)]
    threads = [threading.Thread(target=write, args=each) for each in enumerate(clients)]
    threads += [threading.Thread(target=read, args=(each,)) for each in copies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for copy in copies:
        copy.read()
        assert {each.id: each.data for each in world.all(FormFill)} == {
            key[1]: row["data"] for key, row in copy.rows.items() if key[0] == "form_fill"
        }
    assert world.get(FormFill, forms[0].id).data["w0"] > 1
    assert world.all(Attachment) == []
