"""What a device holds after the pages of the change feed that it read, checked against the rules of a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from flask.testing import FlaskClient

from app.models import Inspection, User
from tests.support.answers import json_of
from tests.support.databases import settle

CHANGES = "/api/v1/sync/changes"

#: Parents first.
ORDER = ["user", "form_template", "inspection", "form_fill", "attachment"]

#: Entities of rows that stand below no inspection.
KNOWN = ORDER[:2]

#: Entity -> the key in a record that names its parent, and the parent's entity.
PARENTS = {"form_fill": ("inspection_id", "inspection"), "attachment": ("form_fill_id", "form_fill")}


class Copy:
    """One device's copy."""

    def __init__(self, client: FlaskClient, limit: int = 500, query: str = "") -> None:
        self.client = client
        self.limit = limit
        #: Further parameters of each page.
        self.query = query
        self.cursor: str | None = None
        self.rows: dict[tuple[str, Any], dict[str, Any]] = {}
        #: The same of users and form templates.
        self.known: dict[tuple[str, Any], dict[str, Any]] = {}
        #: Every change of the last `read`, in order, without those of users and form templates.
        self.changes: list[dict[str, Any]] = []

    def page(self) -> dict[str, Any]:
        """Read and apply one page; its `data`."""
        query = f"?limit={self.limit}{self.query}" + (f"&cursor={quote(self.cursor)}" if self.cursor else "")
        answer = self.client.get(CHANGES + query)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = json_of(answer)["data"]
        assert len(data["changes"]) <= self.limit
        named = [(each["entity"], each["id"]) for each in data["changes"]]
        assert len(set(named)) == len(named), "each row once a page"
        assert named == sorted(named, key=lambda each: ORDER.index(each[0])), "parents first"
        self.cursor = data["cursor"]
        for change in data["changes"]:
            self._apply(change)
        return data

    def read(self, *, settled: bool = True) -> list[tuple[str, str, Any]]:
        """Read to the end; what came, as (op, entity, id)."""
        if settled:
            settle(self.client.application)
        self.changes = []
        for _ in range(2000):
            data = self.page()
            self.changes += [each for each in data["changes"] if each["entity"] not in KNOWN]
            if not data["has_more"]:
                return [(each["op"], each["entity"], each["id"]) for each in self.changes]
        raise AssertionError("the feed does not end")

    def _apply(self, change: Mapping[str, Any]) -> None:
        entity, key = change["entity"], change["id"]
        held = self.known if entity in KNOWN else self.rows
        if change["op"] == "upsert":
            if entity in PARENTS:
                column, parent = PARENTS[entity]
                assert (parent, change["record"][column]) in self.rows, "a row came before its parent"
            held[entity, key] = change["record"]
        else:
            # The rows below it are named themselves.
            gone = held.pop((entity, key), {})
            assert change.get("client_id") == gone.get("client_id", change.get("client_id")), "as it was made"


def of(op: str, row: Any) -> tuple[str, str, Any]:
    """A change as `Copy.read` tells it."""
    return op, row.__entity__.name, row.id


def assign(office: FlaskClient, inspection: Inspection, user: User | None) -> None:
    """Assign an inspection as the office does, or take it away."""
    body = {"assignee_id": None if user is None else user.id}
    answer = office.patch(f"/api/v1/inspections/{inspection.id}", json=body)
    assert answer.status_code == 200, answer.text
