"""Clients that follow no rule: they edit before the answer, send one item a request and in any order, join what they
sent already, give up the version that a change was made on, and store pages of the feed when they like. They make new
inspections, too, and send what belongs to them before and after.

Still a device that is the only editor of a form never meets a conflict, nobody's field is overwritten unseen, and each
new inspection is made once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from sqlalchemy import select

from app.clock import to_wire
from app.core.database.engine import db
from app.models import FormFill, Inspection, LedgerEntry, LedgerOperation
from tests.exactly_once.checker import check_history, check_versions
from tests.exactly_once.site import site
from tests.exactly_once.test_state_machine import EXAMPLES, IS_LONG
from tests.support.lines import LOSE_ANSWER, LOSE_REQUEST, PASS, TWICE

#: What each asks for in a conflict, and whether it says when a change was made.
HABITS: list[tuple[str | None, bool]] = [("merge", True), (None, False), ("merge", False), ("merge", True)]

#: The one that leaves each item as it was made, with its time: what was entered last must stand in the end.
STEADY = 0

#: The one that names no device: of its own changes only those of one batch count.
NAMELESS = 3

Item = dict[str, Any]


class Client:
    """One of them: a queue of items, and all versions of the forms that it has ever received."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.http = site().clients[number]
        self.strategy, self.has_time = HABITS[number]
        self.alone, self.shared = site().alone[number], site().shared
        self.queue: list[Item] = []
        self.sent: dict[str, Item] = {}
        self.page: list[Item] = []
        self.versions: dict[int, list[str]] = {self.alone: [], self.shared: []}
        #: The client_ids of its new inspections, each with that of its form fill.
        self.made: dict[str, str] = {}
        #: Form fill, by the id that the items name -> field -> the value that arrived last.
        self.arrived: dict[int | str, dict[str, str]] = {}
        #: Field of the form that it edits alone -> the value that was entered last.
        self.entered: dict[str, str] = {}
        self.read_page()
        self.store_page()

    def read_page(self) -> None:
        """Read the feed, to be stored some time."""
        answer: Any = self.http.get("/api/v1/sync/changes").json
        self.page = answer["data"]["changes"]

    def store_page(self) -> None:
        """Store what was read."""
        for change in self.page:
            if change["entity"] == "form_fill" and change["id"] in self.versions:
                self.versions[change["id"]].append(change["updated_at"])

    def edit(self, form_fill: int, values: dict[str, str], age: int, minute: int) -> None:
        """Queue a change on one of the last versions that were received."""
        data = {"id": form_fill, "changes": values, "updated_at": self.versions[form_fill][-1 - age :][0]}
        self._queue(data, minute)
        if form_fill == self.alone:
            self.entered |= values

    def make(self, value: str, minute: int) -> None:
        """Queue a new inspection, and an edit of its form fill."""
        inspection, form_fill = str(uuid4()), str(uuid4())
        self.made[inspection] = form_fill
        names = {"client_id": inspection, "form_template_ids": [site().template.id]}
        data = {**names, "date": "2024-03-15", "form_fill_client_ids": [form_fill], "notes": value}
        self._queue(data, minute, "inspection")
        self.edit_new(form_fill, value, minute + 1)

    def edit_new(self, form_fill: str, value: str, minute: int) -> None:
        """Queue an edit of a new inspection's form fill, whose version the client has not learned."""
        self._queue({"id": form_fill, "changes": {"a": value}}, minute)

    def _queue(self, data: Item, minute: int, kind: str = "form_fill") -> None:
        item: Item = {"type": kind, "local_id": str(uuid4()), "data": data}
        if self.strategy is not None:
            data["resolve_strategy"] = self.strategy
        if self.has_time:
            item["made_at"] = to_wire(datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=minute))
        self.queue.append(item)

    def join(self, which: int, minute: int) -> None:
        """Make one item of all that are queued for a form, some of which may have arrived."""
        form_fill = self.queue[which]["data"].get("id")
        joined = [item for item in self.queue if item["data"].get("id") == form_fill]
        if form_fill not in self.versions:
            return
        self.queue = [item for item in self.queue if item not in joined]
        changes = {name: value for item in joined for name, value in item["data"]["changes"].items()}
        self._queue({**joined[0]["data"], "changes": changes}, minute)

    def rebase(self, which: int) -> None:
        """Give a queued item the newest version, as if the change had been made on it."""
        item = self.queue[which]
        if item["data"].get("id") not in self.versions:
            return
        data = {**item["data"], "updated_at": self.versions[item["data"]["id"]][-1]}
        self.queue[which] = {**item, "local_id": str(uuid4()), "data": data}

    def send(self, items: list[Item], fate: str) -> None:
        """Send a batch, and note what is answered."""
        if fate == LOSE_REQUEST:
            return
        self.sent |= {item["local_id"]: item for item in items}
        for _ in range(2 if fate == TWICE else 1):
            answer: Any = self.http.post("/api/v1/sync", json={"sync_items": items}).json
            self._check(answer["results"])
        if fate != LOSE_ANSWER:
            self._note(answer["results"])

    def _check(self, results: dict[str, list[Item]]) -> None:
        for entry in results["errors"]:
            # An edit that has come before its create, and never a create.
            assert (entry["code"], entry["retryable"]) == ("not_found", True), entry
            assert self.sent[entry["local_id"]]["data"]["id"] in self.made.values()
        for entry in results["conflicts"]:
            assert entry["conflict_data"]["conflicting_fields"]
            assert "unknown_version" not in entry["conflict_data"]
            assert entry["server_id"] != self.alone or self.number == NAMELESS, "in conflict with itself"
        for entry in results["success"]:
            data = self.sent[entry["local_id"]]["data"]
            if "changes" in data and not entry.get("replayed"):
                self.arrived.setdefault(data["id"], {}).update(data["changes"])

    def _note(self, results: dict[str, list[Item]]) -> None:
        answered = {entry["local_id"] for kind in ("success", "conflicts") for entry in results[kind]}
        self.queue = [item for item in self.queue if item["local_id"] not in answered]
        for entry in results["success"]:
            if entry["type"] == "form_fill" and entry["server_id"] in self.versions:
                self.versions[entry["server_id"]].append(entry["updated_at"])


clients = st.integers(0, len(HABITS) - 1)
fields = st.lists(st.sampled_from("ab"), min_size=1, max_size=2, unique=True)
deeds = st.lists(st.tuples(clients, st.booleans(), fields, st.integers(0, 3)), min_size=1, max_size=6)
fates = st.sampled_from([PASS, PASS, LOSE_REQUEST, LOSE_ANSWER, LOSE_ANSWER, TWICE])
places = st.integers(0, 99)


class Unruly(RuleBasedStateMachine):
    """What they do, in any order."""

    @initialize()
    def begin(self) -> None:
        site().begin()
        self.numbers = count(1)
        self.clients = [Client(number) for number in range(len(HABITS))]

    @rule(deeds=deeds)
    def work(self, deeds: list[tuple[int, bool, list[str], int]]) -> None:
        for client, is_alone, names, age in deeds:
            self._edit(self.clients[client], is_alone, names, age)

    def _edit(self, it: Client, is_alone: bool, names: list[str], age: int) -> None:
        values = {name: str(next(self.numbers)) for name in names}
        it.edit(it.alone if is_alone else it.shared, values, age, next(self.numbers))

    @rule(client=clients)
    def make_an_inspection(self, client: int) -> None:
        self.clients[client].make(str(next(self.numbers)), next(self.numbers))
        next(self.numbers)

    @rule(client=clients, which=places)
    def edit_a_new_inspection(self, client: int, which: int) -> None:
        it = self.clients[client]
        if it.made:
            it.edit_new([*it.made.values()][which % len(it.made)], str(next(self.numbers)), next(self.numbers))

    @rule(client=clients, which=places, fate=fates)
    def send_one(self, client: int, which: int, fate: str) -> None:
        it = self.clients[client]
        if it.queue:
            it.send([it.queue[which % len(it.queue)]], fate)

    @rule(client=clients, fate=fates, is_reversed=st.booleans())
    def send_all(self, client: int, fate: str, is_reversed: bool) -> None:
        it = self.clients[client]
        it.send(it.queue[:: -1 if is_reversed else 1], fate)

    @rule(client=clients, which=places)
    def arrive_late(self, client: int, which: int) -> None:
        it = self.clients[client]
        if it.sent:
            it.send([[*it.sent.values()][which % len(it.sent)]], LOSE_ANSWER)

    @rule(client=st.integers(STEADY + 1, NAMELESS), which=places, what=st.sampled_from(["join", "rebase"]))
    def change_what_is_queued(self, client: int, which: int, what: str) -> None:
        it = self.clients[client]
        if it.queue and what == "join":
            it.join(which % len(it.queue), next(self.numbers))
        elif it.queue:
            it.rebase(which % len(it.queue))

    @rule(client=clients, is_read=st.booleans())
    def use_the_feed(self, client: int, is_read: bool) -> None:
        it = self.clients[client]
        it.read_page() if is_read else it.store_page()

    @rule(milliseconds=st.sampled_from([1, 5000]))
    def wait(self, milliseconds: int) -> None:
        site().clock.forward(milliseconds=milliseconds)

    def teardown(self) -> None:
        if not hasattr(self, "clients"):
            return
        # Whatever has happened: all edit what they edit alone and what they share, on what they have seen first.
        for it in [*self.clients, *self.clients]:
            for is_alone in (True, False):
                for names in (["a"], ["a", "b"]):
                    self._edit(it, is_alone, names, len(it.versions[it.shared]))
            for item in it.queue[::-1]:
                it.send([item], PASS)
            # What came before its create.
            it.send(it.queue, PASS)
        with site().app.app_context():
            self._check_ledger()
            self._check_new_inspections()
            self._check_only_editors()
            db.session.remove()

    def _check_only_editors(self) -> None:
        """With times the change that was made last stands, and without them the one that arrived last."""
        expected = {it.alone: it.arrived[it.alone] for it in self.clients if not it.has_time}
        expected[self.clients[STEADY].alone] = self.clients[STEADY].entered
        for form_fill in db.session.scalars(select(FormFill).where(FormFill.id.in_(expected))):
            assert form_fill.data == expected.pop(form_fill.id)
        assert not expected

    def _check_new_inspections(self) -> None:
        made = {inspection: form_fill for it in self.clients for inspection, form_fill in it.made.items()}
        rows = db.session.scalars(select(Inspection).where(Inspection.client_id.is_not(None)))
        assert sorted(str(row.client_id) for row in rows) == sorted(made)
        forms = list(db.session.scalars(select(FormFill).where(FormFill.client_id.is_not(None))))
        assert sorted(str(form.client_id) for form in forms) == sorted(made.values()), "none twice, and none is missing"
        # Their edits have no version that could tell which are late: the one that arrives last stands.
        arrived = {form_fill: fields for it in self.clients for form_fill, fields in it.arrived.items()}
        assert all(form.data == arrived[str(form.client_id)] for form in forms)

    def _check_ledger(self) -> None:
        entries = list(db.session.scalars(select(LedgerEntry).order_by(LedgerEntry.id)))
        check_versions([entry for entry in entries if entry.viewer_id is None])
        check_history([entry for entry in entries if entry.viewer_id is None])
        heads = {(head.unit_id, head.position): head for head in db.session.scalars(select(LedgerOperation))}
        sent = {local_id: item for it in self.clients for local_id, item in it.sent.items()}
        for number, entry in enumerate(entries):
            head = heads[entry.unit_id, entry.position]
            if head.local_id is not None and "updated_at" in sent[head.local_id]["data"]:
                known = datetime.fromisoformat(sent[head.local_id]["data"]["updated_at"])
                before = [one for one in entries[:number] if one.entity_id == entry.entity_id]
                unseen = {name for one in foreign(before, heads, head, known) for name in one.changes}
                assert not unseen & entry.changes.keys(), "overwritten unseen"


def foreign(
    before: list[LedgerEntry], heads: dict[tuple[str, int], LedgerOperation], head: LedgerOperation, known: datetime
) -> Iterator[LedgerEntry]:
    """Other people's and devices' changes after the version `known`."""
    for entry in before:
        other = heads[entry.unit_id, entry.position]
        # Nobody can tell what else comes from a device without a name.
        is_own_batch = entry.unit_id == head.unit_id
        is_own = bool(head.device_id) and (other.user_id, other.device_id) == (head.user_id, head.device_id)
        is_since = entry.version_after is not None and entry.version_after > known
        if entry.entity == "form_fill" and is_since and not (is_own or is_own_batch):
            yield entry


class TestUnruly(Unruly.TestCase):  # type: ignore[valid-type, misc]
    settings = settings(
        max_examples=max(1, EXAMPLES // 2),
        stateful_step_count=20,
        derandomize=not IS_LONG,
        # A short failing example takes minutes to find.
        phases=tuple(Phase) if IS_LONG else (Phase.generate,),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
