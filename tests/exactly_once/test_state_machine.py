"""Several devices and an office user do anything in any order over a bad network; Hypothesis looks for a way to fail.

`TEST_EXAMPLES=1000 pytest tests/exactly_once` looks longer, and elsewhere each time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.core.database.engine import db
from app.models import FormFill
from tests.exactly_once.checker import check, check_devices
from tests.exactly_once.site import DEVICES, site
from tests.support.device import Change, Device, Offline, Store
from tests.support.lines import LOSE_ANSWER, LOSE_REQUEST, PASS, TWICE, Line, Witness
from tests.support.pictures import jpeg

IS_LONG = "TEST_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "10"))

#: How the three apps differ: whether they join what was not sent, how much they send at once, and what they ask for in
#: a conflict.
HABITS: list[dict[str, Any]] = [
    {},
    {"joins": False, "batch_items": 2},
    {"joins": False, "batch_items": 4, "strategy": None},
]

devices = st.integers(0, DEVICES - 1)
names = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3)
what = st.sampled_from(["shared", "shared", "shared", "alone", "alone", "made", "new", "inspection", "photo", "photo"])
deeds = st.lists(st.tuples(devices, what, names), min_size=1, max_size=5)
fates = st.lists(st.sampled_from([PASS, PASS, LOSE_REQUEST, LOSE_ANSWER, TWICE]), max_size=6)


def decide(change: Change, conflict: dict[str, Any]) -> dict[str, Any] | None:
    """The user insists on what was entered here."""
    return dict(conflict["local_data"])


class Field(RuleBasedStateMachine):
    """What people, devices and the network do, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = count(1)

    @initialize()
    def begin(self) -> None:
        self.site = site()
        self.site.begin()
        self.app, self.clock, self.office = self.site.app, self.site.clock, self.site.office
        self.inspection, self.template = self.site.inspection, self.site.template
        self.shared, self.alone = self.site.shared, self.site.alone
        self.lines = [Line(self.app) for _ in range(DEVICES)]
        self.witnesses = [Witness(line) for line in self.lines]
        self.devices = [self._open(number, self.site.stores[number]) for number in range(DEVICES)]
        self.made: list[list[Any]] = [[] for _ in range(DEVICES)]
        #: Whether anything has happened that the server could know of; what is only queued it cannot.
        self.is_unchecked = True

    def _open(self, number: int, kept: str) -> Device:
        return Device(self.witnesses[number], Store.load(kept), decide=decide, **HABITS[number])

    def value(self) -> str:
        """A value that nobody has written before."""
        return str(next(self.numbers))

    @rule(deeds=deeds)
    def work(self, deeds: list[tuple[int, str, list[str]]]) -> None:
        """Several people, none of them online: each deed perhaps several fields, one after the other."""
        for number, what, names in deeds:
            device, alone, made = self.devices[number], self.alone[number], self.made[number]
            if what == "new":
                self._create(number)
            elif what == "inspection":
                device.edit_inspection(self.inspection.id, notes=self.value())
            elif what == "photo":
                photo = jpeg((8, 8), colour=f"rgb({next(self.numbers) % 256},0,0)")
                device.photograph(self.shared, "Riser_Photo", photo)
            else:
                key = {"shared": self.shared, "alone": alone, "made": (made or [alone])[-1]}[what]
                for name in names:
                    device.edit(key, **{name: self.value()})

    @rule(device=devices)
    def delete_photo(self, device: int) -> None:
        for record in list(self.devices[device].store.rows["attachment"].values())[:1]:
            self.devices[device].delete_photo(record["form_fill_id"], record["field_name"], record["id"])

    @rule()
    def patch_in_the_office(self) -> None:
        url = f"/api/v1/inspections/{self.inspection.id}"
        assert self.office.patch(url, json={"notes": self.value()}).status_code == 200
        self.is_unchecked = True

    @rule(device=devices, what=st.sampled_from([Device.sync, Device.push]), fates=fates)
    def send(self, device: int, what: Callable[[Device], None], fates: list[str]) -> None:
        self._sync(device, fates, what)

    @rule(device=devices, is_new=st.booleans())
    def go_on_after_a_lost_answer(self, device: int, is_new: bool) -> None:
        """What was made before and after it is of one row, and goes in one batch."""
        key = self._create(device) if is_new else self.alone[device]
        for _ in range(2):
            self.devices[device].edit(key, a=self.value())
            self._sync(device, [LOSE_ANSWER], Device.push)

    @rule(device=devices)
    def restart(self, device: int) -> None:
        self.is_unchecked = True
        self.devices[device] = self._open(device, self.devices[device].store.dump())

    @rule(device=devices, which=st.integers(0, 99))
    def arrive_late(self, device: int, which: int) -> None:
        batches = self.witnesses[device].batches
        if batches:
            body, headers = batches[which % len(batches)]
            self.app.test_client().post("/api/v1/sync", data=body, headers=headers)
            self.is_unchecked = True

    @rule(minutes=st.sampled_from([-60, 1]))
    def set_the_clock(self, minutes: int) -> None:
        self.clock.forward(minutes=minutes)

    @invariant()
    def each_change_counts_once(self) -> None:
        if hasattr(self, "devices") and self.is_unchecked:
            check(self.app, self.devices)
            self.is_unchecked = False

    def _create(self, device: int) -> str:
        made = self.devices[device].create(self.inspection.id, self.template.id, a=self.value())
        self.made[device].append(made)
        return made

    def _sync(self, device: int, fates: list[str], what: Callable[[Device], None]) -> None:
        waiting, self.is_unchecked = list(fates), True
        self.lines[device].fate = lambda method, path: waiting.pop(0) if waiting else PASS
        try:
            what(self.devices[device])
        except Offline:
            pass
        finally:
            self.lines[device].fate = lambda method, path: PASS

    def teardown(self) -> None:
        if not hasattr(self, "devices"):
            return
        self._last_round()
        for what in (Device.sync, Device.pull):
            for number in range(DEVICES):
                self._sync(number, [], what)
        check(self.app, self.devices)
        assert not any(each.unknown for each in self.witnesses)
        self._check_only_editors()
        check_devices(self.devices)

    def _last_round(self) -> None:
        """Whatever has happened: each device changes a field of its own and then the next one's, and photographs."""
        for number, device in enumerate(self.devices):
            for name in ("abc"[number], "abc"[number - 1]):
                device.edit(self.shared, **{name: self.value()})
            device.photograph(self.shared, "Riser_Photo", jpeg((8, 8), colour=f"rgb(0,{number},0)"))
        for number in range(DEVICES):
            self._sync(number, [TWICE] * 6, Device.sync)

    def _check_only_editors(self) -> None:
        """Whoever is the only editor of a row never gets a conflict on it."""
        for number, device in enumerate(self.devices):
            mine = {self.alone[number], *(device.store.made_here[each] for each in self.made[number])}
            conflicts = [each for each in self.witnesses[number].conflicts if each["type"] == "form_fill"]
            assert not [each for each in conflicts if each["server_id"] in mine]
            with self.app.app_context():
                form_fill = db.session.get(FormFill, self.alone[number])
                assert form_fill is not None
                assert device.form_fill(self.alone[number]) == form_fill.data


class TestField(Field.TestCase):  # type: ignore[valid-type, misc]
    settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=40,
        derandomize=not IS_LONG,
        # A short failing example takes minutes to find.
        phases=tuple(Phase) if IS_LONG else (Phase.generate,),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
