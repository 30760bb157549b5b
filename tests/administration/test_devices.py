"""Devices report themselves, show when they are late, and can be signed out (contract, section 13)."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.clock import to_wire
from app.config import API_PREFIX
from app.models import Device, Inspection, User
from app.testing import statements_of
from tests.conftest import SettableClock, SignIn, World
from tests.support.answers import json_of

PHONE = "0f5d2b5e-7c1a-4d7e-9b1f-0a4c3e2d1b00"

REPORT = {
    "app": "Acme Inspect",
    "app_version": "1.4.2",
    "platform": "Android 16",
    "name": "Theo's Pixel 7",
    "waiting_items": 23,
    "waiting_photos": 41,
    "waiting_bytes": 310_000_000,
    "oldest_waiting_at": "2024-03-06T08:00:00.000Z",
    "set_aside": 8,
    "storage_used": 55_000_000,
    "persisted": True,
    "last_error": "no network",
}


@pytest.fixture
def phone(sign_in: SignIn, tech: User) -> FlaskClient:
    """A technician's app that names its device."""
    return sign_in(tech, PHONE)


def sync(client: FlaskClient, device: Any = None, *items: Any) -> Any:
    """Send a batch with a report, and return its answer."""
    body = {"sync_items": list(items), **({} if device is None else {"device": device})}
    answer = client.post(f"{API_PREFIX}/sync", json=body)
    assert answer.status_code == 200, answer.text
    return json_of(answer)


def devices(client: FlaskClient) -> Any:
    return json_of(client.get(f"{API_PREFIX}/devices"))["data"]["devices"]


def test_the_report_beside_a_batch_is_shown(phone: FlaskClient, clock: SettableClock) -> None:
    sync(phone, {**REPORT, "clock": "2024-03-15T12:30:00.000Z", "of a later app": 1})
    (device,) = devices(phone)
    assert {name: device[name] for name in REPORT} == REPORT
    assert device["clock_offset_ms"] == 2 * 60 * 60 * 1000
    assert device["reported_at"] == device["last_batch_at"] == device["last_seen_at"] == to_wire(clock())
    assert (device["sign_ins"], device["late"]) == (1, False)


def test_a_report_without_a_batch_keeps_the_time_of_the_last_batch(phone: FlaskClient, clock: SettableClock) -> None:
    sync(phone, REPORT)
    sent = to_wire(clock())
    clock.forward(minutes=10)
    answer = phone.post(f"{API_PREFIX}/sync/device", json={"app_version": "1.5.0"})
    assert answer.status_code == 200
    (device,) = devices(phone)
    assert (device["last_batch_at"], device["reported_at"]) == (sent, to_wire(clock()))
    assert (device["app_version"], device["waiting_items"]) == ("1.5.0", None), "what it leaves out is no longer so"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("waiting_items", -1), ("waiting_items", "many"), ("waiting_bytes", 1.5), ("persisted", "yes"),
        ("clock", "yesterday"), ("name", "n" * 256), ("name", "\0"), ("last_error", ["x"]),
    ],
)  # fmt: skip
def test_a_wrong_value_is_left_out_and_named_and_the_batch_is_applied(
    phone: FlaskClient, inspection: Inspection, name: str, value: Any
) -> None:
    change = {"type": "inspection", "local_id": str(uuid4()), "data": {"id": inspection.id, "notes": "Seen"}}
    answer = sync(phone, {**REPORT, name: value}, change)
    assert len(answer["results"]["success"]) == 1
    assert [*answer["device_details"]] == [name]
    (device,) = devices(phone)
    assert device["app"] == REPORT["app"]
    assert device.get(name) is None
    alone = phone.post(f"{API_PREFIX}/sync/device", json={name: value})
    assert (alone.status_code, [*json_of(alone)["device_details"]]) == (200, [name])


def test_a_report_that_is_no_object_fails_no_batch(phone: FlaskClient) -> None:
    assert sync(phone, ["a"])["device_details"] == {"device": ["Send an object."]}
    assert phone.post(f"{API_PREFIX}/sync/device", json=["a"]).status_code == 400


def test_a_sign_in_without_a_device_has_no_row(world: World, sign_in: SignIn, tech: User) -> None:
    sync(sign_in(tech), REPORT)
    assert world.all(Device) == []


def test_a_device_that_reports_nothing_is_there_from_its_sign_in(phone: FlaskClient, clock: SettableClock) -> None:
    (device,) = devices(phone)
    assert (device["device_id"], device["app"]) == (PHONE, None)
    assert device["last_seen_at"] == to_wire(clock())


def test_two_people_on_one_phone_are_two_devices(phone: FlaskClient, sign_in: SignIn, admin: User) -> None:
    sync(phone, {"name": "Shared"})
    everybody = devices(sign_in(admin, PHONE))
    assert {(device["device_id"], device["name"]) for device in everybody} == {(PHONE, "Shared"), (PHONE, None)}
    assert len(everybody) == 2


def test_everybody_sees_their_own_devices_and_administrators_all(
    phone: FlaskClient, sign_in: SignIn, owner: User, admin: User
) -> None:
    assert devices(sign_in(owner)) == []
    assert [device["user_name"] for device in devices(sign_in(admin))] == [devices(phone)[0]["user_name"]]


def late(client: FlaskClient) -> list[bool]:
    return [device["late"] for device in devices(client)]


def test_a_silent_device_is_late_while_its_user_has_work(
    world: World, sign_in: SignIn, clock: SettableClock, phone: FlaskClient, owner: User, tech: User, admin: User
) -> None:
    inspection = world.inspection(owner, tech)
    clock.forward(days=2, hours=23)
    assert late(sign_in(admin)) == [False]
    clock.forward(hours=2)
    assert late(sign_in(admin)) == [True]
    office = sign_in(admin)
    done = office.patch(f"{API_PREFIX}/inspections/{inspection.id}", json={"status": "completed"})
    assert done.status_code == 200
    assert late(office) == [False]


@pytest.mark.parametrize("name", ["waiting_items", "waiting_photos"])
def test_a_silent_device_with_unsent_work_is_late(
    sign_in: SignIn, clock: SettableClock, phone: FlaskClient, admin: User, name: str
) -> None:
    sync(phone, {name: 1})
    clock.forward(days=4)
    assert late(sign_in(admin)) == [True]


def test_late_devices_come_first_the_longest_silent_one_before_the_others(
    world: World, sign_in: SignIn, clock: SettableClock, admin: User
) -> None:
    for number, waiting in enumerate([0, 5, 5, 0]):
        sync(
            sign_in(world.user(f"t{number}@example.com"), str(uuid4())), {"name": f"{number}", "waiting_items": waiting}
        )
        clock.forward(hours=1)
    clock.forward(days=4)
    assert [device["name"] for device in devices(sign_in(admin))] == ["1", "2", "0", "3"]


def test_a_device_that_is_signed_out_must_sign_in_again_and_the_users_others_need_not(
    phone: FlaskClient, sign_in: SignIn, tech: User, admin: User
) -> None:
    other = sign_in(tech, str(uuid4()))
    (device,) = [device for device in devices(phone) if device["device_id"] == PHONE]
    answer = sign_in(admin).delete(f"{API_PREFIX}/devices/{device['id']}/sign_ins")
    assert json_of(answer)["data"] == {"sign_ins": 1}
    assert phone.get(f"{API_PREFIX}/auth/me").status_code == 401
    assert {device["device_id"] == PHONE: device["sign_ins"] for device in devices(other)} == {True: 0, False: 1}


def test_nobody_but_administrators_signs_out_the_device_of_another(
    phone: FlaskClient, sign_in: SignIn, owner: User
) -> None:
    (device,) = devices(phone)
    assert sign_in(owner).delete(f"{API_PREFIX}/devices/{device['id']}/sign_ins").status_code == 404
    assert phone.get(f"{API_PREFIX}/auth/me").status_code == 200


def test_the_list_takes_the_same_statements_for_one_device_and_for_many(
    app: Flask, world: World, sign_in: SignIn, admin: User
) -> None:
    office = sign_in(admin, str(uuid4()))
    counts = []
    for number in range(2):
        with statements_of(app) as statements:
            devices(office)
        counts.append(len(statements))
        for place in range(10 if number == 0 else 0):
            sign_in(world.user(f"t{place}@example.com"), str(uuid4()))
    assert counts[0] == counts[1]
