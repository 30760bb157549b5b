"""The reference device against the server: the sequences of docs/clients.md, and two devices with an office user."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.feed import routes
from app.models import Attachment, FormFill, FormTemplate, Inspection, LedgerOperation, User
from tests.conftest import PASSWORD, SettableClock, SignIn, World
from tests.support.databases import feed_held_back, settle
from tests.support.device import Device, Offline, SomebodyElse, Store
from tests.support.lines import LOSE_ANSWER, LOSE_REQUEST, PASS, Line, Witness
from tests.support.pictures import jpeg

MakeDevice = Callable[..., Device]


@pytest.fixture
def form_fill(world: World, inspection: Inspection) -> FormFill:
    return world.form_fill(inspection, data={"a": "0", "b": "0"})


@pytest.fixture
def make_device(app: Flask) -> MakeDevice:
    def make(user: User, **options: Any) -> Device:
        device = Device(Witness(Line(app)), **options)
        device.sign_in(user.email, PASSWORD)
        return device

    return make


def fates(device: Device, *sequence: str) -> None:
    """What becomes of the next requests; those after them pass."""
    waiting = list(sequence)
    witness(device).line.fate = lambda method, path: waiting.pop(0) if waiting else PASS


def witness(device: Device) -> Witness:
    """What crossed the device's line."""
    assert isinstance(device.transport, Witness)
    return device.transport


def restarted(device: Device) -> Device:
    """The app after it was closed and opened again."""
    return Device(device.transport, Store.load(device.store.dump()), decide=device.decide, strategy=device.strategy)


def held(device: Device, entity: str) -> dict[str, Any]:
    return device.store.rows[entity]


def applied(world: World) -> list[LedgerOperation]:
    return [each for each in world.all(LedgerOperation) if each.door == "sync"]


def test_it_makes_no_other_call_than_a_device_needs() -> None:
    """Contract, section 6: signing in, batches, photos, and the feed."""
    source = Path(__file__).with_name("device.py").read_text()
    assert {*re.findall(r'"(/[a-z_/]+?)/?["{]', source)} == {
        "/auth/login",
        "/auth/refresh",
        "/sync",
        "/sync/changes",
        "/sync/upload_photo",
        "/sync/verify_attachments",
        "/attachments",
    }


def test_the_first_download_is_a_walk_with_all_that_forms_need_and_the_feed_goes_on_from_it(
    app: Flask, world: World, make_device: MakeDevice, tech: User, form_fill: FormFill, sign_in: SignIn
) -> None:
    device = make_device(tech)
    device.pull()
    assert held(device, "form_fill")[str(form_fill.id)]["data"] == {"a": "0", "b": "0"}
    template = world.get(FormTemplate, form_fill.form_template_id)
    assert device.structure(form_fill.id) == template.form_structure
    inspection = world.get(Inspection, form_fill.inspection_id)
    names = [world.get(User, person).name for person in (inspection.owner_id, inspection.assignee_id) if person]
    assert device.people(inspection.id) == names
    other = world.user("admin@example.com", "admin")
    sign_in(other).post("/api/v1/sync", json={"sync_items": [item(form_fill, a="1")]})
    settle(app)
    device.pull()
    assert held(device, "form_fill")[str(form_fill.id)]["data"] == {"a": "1", "b": "0"}


def item(form_fill: FormFill, **changes: Any) -> dict[str, Any]:
    return {"type": "form_fill", "local_id": str(changes), "data": {"id": form_fill.id, "changes": changes}}


def test_what_was_edited_offline_arrives_once_the_network_is_back(
    world: World, make_device: MakeDevice, tech: User, form_fill: FormFill
) -> None:
    device = make_device(tech)
    device.pull()
    device.edit(form_fill.id, a="1")
    fates(device, LOSE_REQUEST)
    with pytest.raises(Offline):
        device.sync()
    device = restarted(device)
    device.edit(form_fill.id, b="1")
    device.edit_inspection(form_fill.inspection_id, status="completed")
    assert device.form_fill(form_fill.id) == {"a": "1", "b": "1"}
    device.sync()
    assert world.get(FormFill, form_fill.id).data == {"a": "1", "b": "1"}
    assert world.get(Inspection, form_fill.inspection_id).status == "completed"
    assert [*device.store.queue, *device.store.set_aside] == []


@pytest.mark.parametrize("times", [1, 3])
def test_a_lost_answer_applies_nothing_twice_and_is_no_conflict(
    world: World, make_device: MakeDevice, tech: User, form_fill: FormFill, times: int
) -> None:
    device = make_device(tech, strategy=None)
    device.pull()
    device.edit(form_fill.id, a="1")
    for number in range(times):
        fates(device, LOSE_ANSWER)
        with pytest.raises(Offline):
            device.sync()
        device.edit(form_fill.id, b=str(number))
        device = restarted(device)
    device.sync()
    assert world.get(FormFill, form_fill.id).data == {"a": "1", "b": str(times - 1)}
    assert len(applied(world)) == 1 + times
    assert witness(device).conflicts == []
    assert held(device, "form_fill")[str(form_fill.id)]["data"] == {"a": "1", "b": str(times - 1)}


def test_two_people_who_changed_different_fields_need_not_notice_each_other(
    app: Flask, world: World, make_device: MakeDevice, tech: User, form_fill: FormFill
) -> None:
    one, other = make_device(tech), make_device(tech)
    for device in (one, other):
        device.pull()
    one.edit(form_fill.id, a="one")
    other.edit(form_fill.id, b="other")
    one.sync()
    other.sync()
    settle(app)
    one.sync()
    assert world.get(FormFill, form_fill.id).data == {"a": "one", "b": "other"}
    assert one.form_fill(form_fill.id) == other.form_fill(form_fill.id) == {"a": "one", "b": "other"}
    assert [entry["message"] for entry in witness(other).entries] == ["Conflict merged"]


def test_the_same_field_is_a_conflict_that_the_user_decides(
    world: World, make_device: MakeDevice, tech: User, form_fill: FormFill
) -> None:
    shown: list[dict[str, Any]] = []

    def decide(change: Any, conflict: dict[str, Any]) -> dict[str, Any]:
        shown.append(conflict)
        return {"a": f"{conflict['server_data']['a']} and {conflict['local_data']['a']}"}

    one, other = make_device(tech), make_device(tech, decide=decide)
    for device in (one, other):
        device.pull()
    one.edit(form_fill.id, a="one")
    other.edit(form_fill.id, a="other", b="other")
    one.sync()
    other.sync()
    (conflict,) = shown
    assert conflict["conflicting_fields"] == ["a"]
    assert conflict["base_data"] == {"a": "0", "b": "0"}
    assert world.get(FormFill, form_fill.id).data == {"a": "one and other", "b": "0"}


def test_a_merge_and_then_the_whole_form_overwrites_nobody(
    world: World, make_device: MakeDevice, tech: User, form_fill: FormFill
) -> None:
    one, other = make_device(tech), make_device(tech)
    for device in (one, other):
        device.pull()
    one.edit(form_fill.id, a="one")
    other.edit(form_fill.id, b="other")
    one.push()
    other.push()
    # A client that takes version and content from the merge's answer, and sends the whole form.
    row = held(other, "form_fill")[str(form_fill.id)]
    whole = {"id": form_fill.id, "updated_at": row["updated_at"], "data": {**row["data"], "c": "new"}}
    _, answer = other._send("POST", "/sync", {"sync_items": [{"type": "form_fill", "local_id": "w", "data": whole}]})
    assert len(answer["results"]["success"]) == 1
    assert world.get(FormFill, form_fill.id).data == {"a": "one", "b": "other", "c": "new"}


@pytest.mark.parametrize("lost", [LOSE_REQUEST, LOSE_ANSWER])
def test_created_edited_and_photographed_without_ever_being_online(
    world: World, make_device: MakeDevice, tech: User, inspection: Inspection, lost: str
) -> None:
    template = world.template()
    device = make_device(tech)
    device.pull()
    key = device.create(inspection.id, template.id, a="1")
    device.edit(key, b="2")
    device.photograph(key, "Riser_Photo", jpeg())
    assert device.form_fill(key) == {"a": "1", "b": "2"}
    # Each request in turn gets lost once.
    for count in range(6):
        fates(device, *[PASS] * count, lost)
        try:
            device.sync()
        except Offline:
            device = restarted(device)
    device.edit(key, c="3")
    device.sync()
    (row,) = world.all(FormFill)
    assert (row.client_id, row.data) == (key, {"a": "1", "b": "2", "c": "3"})
    (attachment,) = world.all(Attachment)
    assert device.photo(attachment.id) == jpeg()
    assert device.store.photos == []
    assert device.store.set_aside == []
    assert witness(device).conflicts == []


def test_a_batch_that_is_too_large_is_cut_between_rows(
    app: Flask, world: World, make_device: MakeDevice, tech: User, inspection: Inspection, environment: dict[str, str]
) -> None:
    forms = [world.form_fill(inspection, data={}) for _ in range(10)]
    device = make_device(tech, strategy=None)
    device.pull()
    for form in forms:
        device.edit(form.id, a="x" * 900_000)
    device.sync()
    assert [world.get(FormFill, form.id).data["a"][:1] for form in forms] == ["x"] * 10
    assert device.store.queue == []


def test_a_token_that_expired_is_refreshed_and_the_queue_survives(
    world: World, make_device: MakeDevice, tech: User, form_fill: FormFill, clock: SettableClock
) -> None:
    device = make_device(tech)
    device.pull()
    clock.forward(hours=1)
    device.edit(form_fill.id, a="1")
    device.sync()
    assert world.get(FormFill, form_fill.id).data["a"] == "1"


def test_work_of_one_user_is_never_sent_by_another(
    world: World, make_device: MakeDevice, tech: User, form_fill: FormFill
) -> None:
    device = make_device(tech)
    device.pull()
    device.edit(form_fill.id, a="1")
    with pytest.raises(SomebodyElse):
        device.sign_in(world.user("next@example.com").email, PASSWORD)
    device.sync()
    (operation,) = applied(world)
    assert operation.user_id == tech.id
    device.sign_in(tech.email, PASSWORD)
    assert device.store.user_id == tech.id


def test_a_cursor_that_expired_starts_the_walk_anew_and_keeps_unsent_work(
    world: World, make_device: MakeDevice, tech: User, form_fill: FormFill
) -> None:
    device = make_device(tech)
    device.pull()
    device.store.rows["form_fill"]["4711"] = {"id": 4711, "data": {}}
    device.edit(form_fill.id, a="1")
    device.store.cursor = "made up"
    device.pull()
    assert set(held(device, "form_fill")) == {str(form_fill.id)}
    assert device.form_fill(form_fill.id)["a"] == "1"


@pytest.mark.database("postgresql")
def test_what_was_sent_while_a_walk_was_under_way_is_not_discarded_at_its_end(
    app: Flask, make_device: MakeDevice, tech: User, form_fill: FormFill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The walk began before it was made, and the feed is held back."""
    monkeypatch.setattr(routes, "DEFAULT_LIMIT", 1)
    device = make_device(tech)
    with feed_held_back(app):
        fates(device, PASS, LOSE_ANSWER)
        with pytest.raises(Offline):
            device.pull()
        key = device.create(form_fill.inspection_id, form_fill.form_template_id, a="1")
        device.sync()
        assert device.form_fill(key) == {"a": "1"}
        assert len(held(device, "form_fill")) == 2


# Two devices and an office user


def shown_to(client: FlaskClient) -> dict[str, dict[str, Any]]:
    """All that the server shows a user, as a device keeps it: from the packages, since devices read the feed."""
    found: dict[str, dict[str, Any]] = {"inspection": {}, "form_fill": {}, "attachment": {}}
    templates: Any = client.get("/api/v1/form_templates?per_page=200").json
    found["form_template"] = {str(each["id"]): each for each in templates["data"]["form_templates"]}
    listed: Any = client.get("/api/v1/inspections?per_page=200").json
    for each in listed["data"]["inspections"]:
        answer: Any = client.get(f"/api/v1/inspections/{each['id']}/offline_data").json
        package = answer["data"]
        found["inspection"][str(each["id"])] = package["inspection"]
        for form in package["form_fills"]:
            found["attachment"] |= {photo["id"]: photo for photo in form.pop("photos")}
            del form["form_structure"]
            found["form_fill"][str(form["id"])] = form
    return found


def stored_bytes(app: Flask, world: World, attachment_id: str) -> bytes:
    storage = app.extensions["fieldpost.storage"]
    return b"".join(storage.open(world.get(Attachment, attachment_id).storage_key))


class Fieldwork:
    """A technician's day: forms are edited and photographed, and synchronised, again and again."""

    def __init__(self, device: Device, number: int) -> None:
        self.device = device
        self.number = number
        self.taken: set[bytes] = set()

    def __call__(self) -> None:
        for turn in range(6):
            self.device.pull()
            for key in list(held(self.device, "form_fill"))[turn % 3 :: 2]:
                self.device.edit(int(key), **{f"f{turn % 4}": f"{self.number} in {turn}"})
                if turn % 2 == self.number:
                    photo = jpeg(colour=f"rgb({turn},{self.number},{key})")
                    self.taken.add(photo)
                    self.device.photograph(int(key), "Riser_Photo", photo)
            self.device.sync()


def test_devices_hold_in_the_end_exactly_what_their_users_may_see(
    app: Flask, world: World, make_device: MakeDevice, sign_in: SignIn
) -> None:
    """Whatever the office reassigns and deletes while they synchronise, all at once."""
    office = sign_in(world.user("office@example.com", "admin"))
    owner, template = world.user("owner@example.com", "user"), world.template()
    techs = [world.user(f"tech{number}@example.com") for number in range(2)]
    inspections = [world.inspection(owner, techs[number % 2]) for number in range(6)]
    for each in inspections * 3:
        world.form_fill(each, template, data={})
    days = [Fieldwork(make_device(user), number) for number, user in enumerate(techs)]

    with ThreadPoolExecutor(len(days)) as pool:
        at_work = [pool.submit(day) for day in days]
        for turn in itertools.count():
            moved, assignee = inspections[turn % 6], [techs[0].id, techs[1].id, None][turn % 3]
            assert office.patch(f"/api/v1/inspections/{moved.id}", json={"assignee_id": assignee}).status_code == 200
            if turn == 7:
                assert office.delete(f"/api/v1/inspections/{inspections.pop(0).id}").status_code == 200
                inspections.append(world.inspection(owner, techs[0]))
            if turn >= 12 and all(work.done() for work in at_work):
                break
        for work in at_work:
            work.result()
    for number in range(2):
        office.patch(f"/api/v1/inspections/{inspections[number].id}", json={"assignee_id": techs[number].id})

    for day in days:
        day.device.push()
        day.device.upload()
    # On PostgreSQL the feed waits for whoever else is writing in the same cluster: tests beside this one.
    settle(app)
    for day, user in zip(days, techs, strict=True):
        day.device.pull()
        rows = {entity: held(day.device, entity) for entity in day.device.store.rows.keys() - {"user"}}
        assert rows == shown_to(sign_in(user))
        fresh = make_device(user)
        fresh.pull()
        assert day.device.store.rows == fresh.store.rows
        for key in held(day.device, "attachment"):
            photo = day.device.photo(key)
            assert photo in days[0].taken | days[1].taken
            assert photo == stored_bytes(app, world, key)
    assert any(held(day.device, "attachment") for day in days)
    # What was edited while an inspection was taken away is shown to the user, not lost.
    assert {entry["code"] for day in days for _, entry in day.device.store.set_aside} <= {"forbidden", "not_found"}
