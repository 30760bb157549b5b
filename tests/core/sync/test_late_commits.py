"""Nothing that was committed is ever skipped, whatever is still open: writers and readers of the feed at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.core.database.engine import db
from app.core.database.transactions import WRITES
from app.core.ledger.record import Origin, Recorder, record
from app.models import Attachment, FormFill, FormTemplate, Inspection, User
from app.testing import push
from tests.conftest import SignIn, World
from tests.core.sync.conftest import edit
from tests.core.sync.copies import Copy, assign, of
from tests.support.databases import feed_held_back

#: For how long writers write and readers read; a minute with `make late-commits`.
SECONDS = float(os.environ.get("TEST_FEED_SECONDS", "1"))


class Held(threading.Thread):
    """A form fill that is made, and another that is edited, in a transaction that stays open until `commit`."""

    def __init__(self, app: Flask, edited: FormFill) -> None:
        super().__init__()
        self.app = app
        self.edited = edited
        self.begun, self.may_commit = threading.Event(), threading.Event()
        self.made: int | None = None
        self.start()
        assert self.begun.wait(20)

    def run(self) -> None:
        with self.app.app_context():
            record("test.held", Origin(door="cli"), self.work)

    def work(self, recorder: Recorder) -> None:
        known: Any = recorder.session.get(FormFill, self.edited.id)
        recorder.change(known, {"a": "held"})
        root: Any = recorder.session.get(Inspection, known.inspection_id)
        values = {"form_template_id": known.form_template_id, "data": {}}
        made: Any = recorder.create(FormFill, values, root)
        recorder.write()
        self.made = made.id
        self.begun.set()
        assert self.may_commit.wait(20)

    def commit(self) -> None:
        self.may_commit.set()
        self.join()


@pytest.mark.parametrize("limit", [1, 500])
@pytest.mark.database("postgresql")
def test_of_two_open_transactions_that_commit_in_the_wrong_order_nothing_is_skipped(
    app: Flask, world: World, device: FlaskClient, inspection: Inspection, limit: int
) -> None:
    """Read in between, by a device that was up to date before and by devices that begin at each moment."""
    forms = [world.form_fill(inspection, world.template(), data={}) for _ in range(2)]
    copies = [Copy(device, limit)]
    copies[0].read()
    first, second = Held(app, forms[0]), Held(app, forms[1])
    for held in (None, second, first):
        if held is not None:
            held.commit()
        copies.append(Copy(device, limit))
        for copy in copies:
            copy.read(settled=False)
    expected = {each.id: each.data for each in world.all(FormFill)}
    assert set(expected) == {each.id for each in forms} | {first.made, second.made}
    for copy in copies:
        copy.read()
        assert {key[1]: row["data"] for key, row in copy.rows.items() if key[0] == "form_fill"} == expected


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


@pytest.mark.database("postgresql")
def test_a_transaction_that_was_forgotten_open_is_ended_and_holds_the_feed_back_no_longer(
    app: Flask, environment: dict[str, str], device: FlaskClient, other: FlaskClient, form_fill: FormFill
) -> None:
    copy = Copy(device)
    copy.read()
    with app.app_context():
        engine = db.engine
    with engine.connect().execution_options(**{WRITES: True}) as forgotten:
        assert forgotten.scalar(text("SHOW idle_in_transaction_session_timeout")) == "30s"
        # So that the test need not wait so long.
        forgotten.execute(text("SET idle_in_transaction_session_timeout = '1s'"))
        forgotten.commit()
        forgotten.execute(text("SELECT pg_current_xact_id()"))
        push(other, edit(form_fill, a=1))
        # Nothing at first, unless this machine is slow.
        assert copy.read(settled=False) + copy.read() == [of("upsert", form_fill)]
        with pytest.raises(DBAPIError, match="idle-in-transaction timeout"):
            forgotten.execute(text("SELECT 1"))
        forgotten.invalidate()


class Traffic:
    """Writers who edit, add, photograph and reassign, and readers of the feed, all at once."""

    def __init__(self, world: World, inspections: list[Inspection], template: FormTemplate) -> None:
        self.world = world
        self.inspections = inspections
        self.template = template
        self.forms = [world.form_fill(each, template, data={}) for each in inspections * 4]
        self.end = time.monotonic() + SECONDS

    def turns(self) -> Iterator[int]:
        """From 1 on until the time is over, but two at least: a machine may be busy."""
        for turn in count(1):
            if turn > 2 and time.monotonic() > self.end:
                return
            yield turn

    def write(self, number: int, client: FlaskClient) -> None:
        for turn in self.turns():
            root = self.inspections[turn % len(self.inspections)]
            # Touched once and never again: if it were skipped, nothing would bring it.
            new = {"inspection_id": root.id, "form_template_id": self.template.id, "data": {"by": number}}
            made = {"type": "form_fill", "local_id": str(uuid4()), "data": new}
            change: dict[str, Any] = {f"w{number}": turn}
            found = push(client, made, *(edit(form, **change) for form in self.forms))
            assert not found["errors"], found["errors"]
            # A world is of one thread: others would make their rows in its unit of work.
            World(self.world.app).attachment(self.forms[number])

    def reassign(self, office: FlaskClient, users: list[User]) -> None:
        for turn in self.turns():
            assign(office, self.inspections[turn % 2], users[turn // 2 % 2])
            time.sleep(0.05)

    def read(self, copy: Copy) -> None:
        for _ in self.turns():
            copy.page()


def test_readers_collect_all_that_writers_write_meanwhile(
    app: Flask, world: World, sign_in: SignIn, office: FlaskClient, tech: User, owner: User
) -> None:
    other = world.user("tech2@example.com")
    writers = [sign_in(owner) for _ in range(4)]
    readers = [Copy(sign_in(each), limit) for each, limit in ((tech, 3), (other, 20), (owner, 7), (owner, 500))]
    readers.append(Copy(office, 100))
    traffic = Traffic(world, [world.inspection(owner, tech) for _ in range(2)], world.template())
    with ThreadPoolExecutor(10) as pool:
        work = [pool.submit(traffic.write, number, client) for number, client in enumerate(writers)]
        work += [pool.submit(traffic.read, copy) for copy in readers]
        work.append(pool.submit(traffic.reassign, office, [tech, other]))
        for each in work:
            each.result()
    assert len(world.all(FormFill)) >= len(traffic.forms) + 2 * len(writers), "each turn makes one"
    for copy in readers:
        copy.limit = 500
        copy.read()
        assert copy.rows == shown_to(copy.client)
    assert len(readers[-1].rows) == 2 + len(world.all(FormFill)) + len(world.all(Attachment))


def shown_to(client: FlaskClient) -> dict[tuple[str, Any], Any]:
    """What the packages of all inspections hold that the user sees."""
    found: dict[tuple[str, Any], Any] = {}
    listed: Any = client.get("/api/v1/inspections?per_page=200").json
    for each in listed["data"]["inspections"]:
        answer: Any = client.get(f"/api/v1/inspections/{each['id']}/offline_data").json
        found["inspection", each["id"]] = answer["data"]["inspection"]
        for form in answer["data"]["form_fills"]:
            found |= {("attachment", photo["id"]): photo for photo in form.pop("photos")}
            del form["form_structure"]
            found["form_fill", form["id"]] = form
    return found
