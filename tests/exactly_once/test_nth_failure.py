"""Fail the first call, then the second, … until a request passes untouched: after none is anything half done.

Each time the device sends the same again, as after a lost answer, and then everything counts once.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.attachments import upkeep
from app.attachments.storage.local import LocalStorage
from app.clock import to_wire
from app.config import API_PREFIX
from app.core.database.engine import db
from app.core.ledger.record import Origin, Recorder, record
from app.models import Attachment, FormFill, Inspection, LedgerOperation
from tests.attachments.conftest import upload
from tests.conftest import SettableClock, SignIn, World
from tests.exactly_once import faults
from tests.exactly_once.checker import Told, check_history, check_versions
from tests.exactly_once.faults import Fault, Fuse, break_connection, raise_a_bug
from tests.support.answers import json_of
from tests.support.pictures import jpeg

#: Where the database fails, and how; a bug is what nobody has foreseen.
DATABASE: dict[str, Fault] = {
    "statement": faults.statement(break_connection),
    "statement with a bug": faults.statement(raise_a_bug),
    "commit": faults.commit(break_connection),
    "commit with a bug": faults.commit(raise_a_bug),
    "commit that came through": faults.commit(break_connection, comes_through=True),
}

STORAGE: dict[str, Fault] = {
    "keep": faults.keep(),
    "keep that came through": faults.keep(comes_through=True),
    "write": faults.write(),
    "fsync": faults.system("fsync"),
    "rename": faults.system("rename"),
    "open": faults.system("open"),
    "mkdir": faults.system("mkdir"),
}

#: More calls than any request here makes.
MANY = 30

#: A photo that was uploaded before.
PHOTO = {
    "kind": "photo", "field_name": "Riser_Photo", "position": 1, "filename": None, "content_type": "image/jpeg",
    "byte_size": 1, "width": 1, "height": 1, "sha256": "0" * 64, "uploaded_by_id": 1, "deleted_at": None,
}  # fmt: skip

#: `send(request)`: what the request answers, with the fault in its way.
Send = Callable[[Callable[[], Any]], Any]


class Bench:
    """A device, and for each try a form with a photo that nothing has happened to yet."""

    def __init__(self, app: Flask, world: World, device: FlaskClient, inspection: Inspection) -> None:
        self.app = app
        self.world = world
        self.device = device
        self.inspection = inspection
        self.template = world.template()
        #: Ids of the photos that were uploaded here.
        self.uploaded: set[str] = set()
        with app.app_context():
            self.form_fills = record("test.make", Origin(door="cli"), self._make, capacity=2 * MANY)
            db.session.expunge_all()

    def _make(self, recorder: Recorder) -> list[FormFill]:
        root = db.session.get(Inspection, self.inspection.id)
        values = {"form_template_id": self.template.id, "data": {"a": 0}}
        form_fills = [recorder.create(FormFill, values, root) for _ in range(2 * MANY)]
        for each in form_fills:
            recorder.create(Attachment, {**PHOTO, "form_fill_id": each.id, "storage_key": f"00/{each.id}"}, root)
        return form_fills

    def batch(self) -> list[dict[str, Any]]:
        """An operation of each kind, some of them on rows that the batch makes."""
        form_fill, name, visit = self.form_fills.pop(), str(uuid4()), str(uuid4())
        place = {"inspection_id": self.inspection.id, "form_template_id": self.template.id, "client_id": name}
        version = to_wire(form_fill.updated_at)
        return [
            item("form_fill", **place, data={"a": 1}),
            item("form_fill", id=name, changes={"a": 2}),
            item("form_fill", id=form_fill.id, changes={"a": name}, updated_at=version),
            item("inspection", id=self.inspection.id, notes=name),
            item("inspection", client_id=visit, date="2024-03-15", form_template_ids=[self.template.id]),
            item("inspection", id=visit, notes=name),
            item("photo_delete", form_fill_id=form_fill.id, field_name="Riser_Photo"),
        ]

    def applied(self) -> list[str]:
        """The local_ids of which the ledger tells. Its whole history, replayed, must be what is there."""
        with self.app.app_context():
            told = Told()
            check_versions(told.entries)
            check_history(told.entries)
            db.session.remove()
            return [local_id for _, local_id in told.recorded]

    @property
    def storage_root(self) -> Path:
        root: Path = self.app.extensions["fieldpost.storage"].root
        return root

    def count(self, local_ids: list[str]) -> int:
        """How many operations with these local_ids were recorded."""
        with self.app.app_context():
            statement = db.select(LedgerOperation.id).where(LedgerOperation.local_id.in_(local_ids))
            return len(db.session.scalars(statement).all())


def item(type_: str, **data: Any) -> dict[str, Any]:
    return {"type": type_, "local_id": str(uuid4()), "data": data}


@pytest.fixture
def bench(app: Flask, world: World, sign_in: SignIn) -> Bench:
    tech = world.user()
    return Bench(app, world, sign_in(tech), world.inspection(tech))


def until_it_passes(app: Flask, fault: Fault, patch: pytest.MonkeyPatch, attempt: Callable[[Send], None]) -> int:
    """`attempt(send)` with the first call failing, the second, …, each once and for good; how many calls there are."""
    fuse = Fuse()

    def send(request: Callable[[], Any]) -> Any:
        fuse.is_armed = True
        try:
            return request()
        finally:
            fuse.is_armed = False

    with fault(app, fuse, patch):
        for number, is_for_good in product(range(1, MANY), (False, True)):
            fuse.set(number, for_good=is_for_good)
            attempt(send)
            if not fuse.has_blown:
                return number - 1
    raise AssertionError("it never passes untouched")


@pytest.mark.parametrize("fault", DATABASE)
def test_a_batch_is_applied_wholly_or_not_at_all_whatever_fails(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    statuses = set()

    def attempt(send: Send) -> None:
        items = bench.batch()
        sent = [each["local_id"] for each in items]
        answer = send(lambda: bench.device.post(f"{API_PREFIX}/sync", json={"sync_items": items}))
        applied = [each for each in bench.applied() if each in sent]
        statuses.add(answer.status_code)
        if answer.status_code == 200:
            assert applied == sent == [each["local_id"] for each in answer.json["results"]["success"]]
        else:
            # Whether a COMMIT came through whose answer was lost for good, nobody can know.
            assert applied == (sent if "came through" in fault else [])
            assert answer.json["success"] is False
        again = json_of(bench.device.post(f"{API_PREFIX}/sync", json={"sync_items": items}))["results"]["success"]
        assert [(each["local_id"], "replayed" in each) for each in again] == [(each, bool(applied)) for each in sent]
        assert bench.count(sent) == len(sent)

    calls = until_it_passes(bench.app, DATABASE[fault], monkeypatch, attempt)
    assert calls >= (1 if "commit" in fault else 8)
    assert statuses == ({200, 500} if "bug" in fault else {200, 503})


@pytest.mark.parametrize("fault", sorted(DATABASE.keys() - {"statement with a bug"}))
def test_an_upload_is_stored_wholly_or_not_at_all_whatever_the_database_does(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, clock: SettableClock, fault: str
) -> None:
    calls = count_calls_of_uploads(bench, DATABASE[fault], monkeypatch, is_unknown="came through" in fault)
    # To PostgreSQL in as many messages: the sign-in, what is in the way before the image is read, user and place,
    # retries, and what is written.
    with bench.app.app_context():
        statements = 5 if db.engine.dialect.name == "postgresql" else 8
    assert calls >= (statements if fault == "statement" else 1)
    assert_nothing_is_left_over(bench, clock)


@pytest.mark.database("sqlite")
@pytest.mark.parametrize("fault", STORAGE)
def test_an_upload_is_stored_wholly_or_not_at_all_whatever_the_storage_does(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, clock: SettableClock, fault: str
) -> None:
    assert count_calls_of_uploads(bench, STORAGE[fault], monkeypatch) >= {"fsync": 3, "open": 2}.get(fault, 1)
    assert_nothing_is_left_over(bench, clock)


def count_calls_of_uploads(
    bench: Bench, fault: Fault, monkeypatch: pytest.MonkeyPatch, *, is_unknown: bool = False
) -> int:
    """Upload until the fault no longer comes; each photo is there once, with its bytes, after it was sent again.

    `is_unknown`: whether a refusal may stand for something that was stored. Returns how many calls there are.
    """
    statuses = set()

    def attempt(send: Send) -> None:
        form_fill, local_id = bench.form_fills.pop(), str(uuid4())
        photo = jpeg((8, 8), comment=local_id)
        # As after a restart: no directory is known to be there.
        bench.app.extensions["fieldpost.storage"] = LocalStorage(bench.storage_root)
        answer = send(lambda: upload(bench.device, form_fill, photo, "New_Photo", local_id=local_id))
        statuses.add(answer.status_code)
        applied = [each for each in bench.applied() if each == local_id]
        assert applied == ([local_id] if answer.status_code == 200 or is_unknown else [])
        again = upload(bench.device, form_fill, photo, "New_Photo", local_id=local_id)
        assert (again.status_code, again.json.get("replayed", False)) == (200, bool(applied))
        bench.uploaded.add(again.json["photo_attachment_id"])
        assert bench.count([local_id]) == 1
        assert bench.device.get(again.json["data"]["url"]).data == photo

    calls = until_it_passes(bench.app, fault, monkeypatch, attempt)
    assert len(statuses) > 1, "some were refused, and the last was not"
    return calls


def assert_nothing_is_left_over(bench: Bench, clock: SettableClock) -> None:
    """A row for each photo, and its bytes; bytes without a row are collected when they are old."""
    added = [each.id for each in bench.world.all(Attachment) if each.field_name == "New_Photo"]
    assert sorted(added) == sorted(bench.uploaded)
    # The files' times are the machine's.
    clock.forward(days=5000)
    with bench.app.app_context():
        upkeep.collect()
        findings = upkeep.check()
    assert (findings.damaged, findings.orphans, findings.objects) == ([], [], len(added))
    assert not bench.uploaded & set(findings.missing)
