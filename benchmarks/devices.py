"""Fieldpost's clients in a benchmark: technicians who have signed in, each with an inspection and its form fills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from load import CLIENTS, RECORDS, changed, record
from server import ADMIN, PASSWORD, Client, Server


class NotTakenError(Exception):
    """A batch was refused as a whole; the server has applied nothing of it, as far as it knows."""


class Device:
    """A technician with an inspection and its form fills."""

    def __init__(self, client: Client, inspection_id: int, form_template_id: int) -> None:
        self.client = client
        self._inspection_id = inspection_id
        self._parts = {"inspection_id": inspection_id, "form_template_id": form_template_id}
        self.versions: dict[int, str] = {}
        self._cursor: str | None = None
        self._sent: list[dict[str, Any]] = []

    @classmethod
    def of(cls, client: Client, other: Device) -> Device:
        """Another device that knows the same rows."""
        device = cls(client, other._inspection_id, other._parts["form_template_id"])
        device.versions = dict(other.versions)
        return device

    @property
    def ids(self) -> list[int]:
        """The form fills that were made."""
        return list(self.versions)

    @property
    def sent_ids(self) -> list[str]:
        """The `local_id` of each item of the last batch."""
        return [item["local_id"] for item in self._sent]

    def create(self, count: int) -> None:
        """Make form fills, in one batch."""
        failed = self._sync([{**self._parts, "client_id": str(uuid4()), "data": record(each)} for each in range(count)])
        if failed:
            raise RuntimeError(f"{failed} of {count} form fills could not be made.")

    def push(self, ids: Sequence[Any], tick: int, versions: Mapping[int, str] | None = None) -> int:
        """One batch with a new local_id for each change, as devices must; returns how many were not applied.

        `versions`: those that the changes name in place of the present ones.
        """
        named = self.versions | dict(versions or {})
        return self._sync([{"id": each, "updated_at": named[each], "changes": changed(tick)} for each in ids])

    def upload(self, photo: bytes, field_name: str = "Riser_Photo") -> None:
        """Upload a photo to the first form fill."""
        boundary = uuid4().hex
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in {"form_fill_id": self.ids[0], "field_name": field_name}.items()
        )
        file = 'Content-Disposition: form-data; name="photo"; filename="photo.jpg"\r\nContent-Type: image/jpeg'
        ends = f"{head}--{boundary}\r\n{file}\r\n\r\n".encode(), f"\r\n--{boundary}--\r\n".encode()
        body = photo.join(ends)
        answer = self.client.call(
            "POST", "/api/v1/sync/upload_photo", body, f"multipart/form-data; boundary={boundary}"
        )
        if not answer["success"]:
            raise RuntimeError(f"The upload was refused: {answer}")

    def look(self) -> int:
        """Read the feed to its end; how many rows it has brought."""
        count, has_more = 0, True
        while has_more:
            place = "" if self._cursor is None else f"&cursor={self._cursor}"
            page = _data(self.client.call("GET", f"/api/v1/sync/changes?limit=500{place}"))
            self._cursor, has_more = page["cursor"], page["has_more"]
            count += len(page["changes"])
        return count

    def keeps_its_place(self) -> bool:
        """Whether the feed goes on from the device's cursor; otherwise it says that the device starts over."""
        return bool(self.client.call("GET", f"/api/v1/sync/changes?cursor={self._cursor}")["success"])

    def package(self) -> None:
        """Download the inspection for work offline."""
        _data(self.client.call("GET", f"/api/v1/inspections/{self._inspection_id}/offline_data"))

    def status(self) -> None:
        """Ask when the user has synced."""
        self.client.call("GET", "/api/v1/sync/status")

    def _sync(self, payloads: list[dict[str, Any]]) -> int:
        self._sent = [{"type": "form_fill", "local_id": str(uuid4()), "data": each} for each in payloads]
        return self.retry()

    def retry(self) -> int:
        """Send the last batch as it is; how many of its changes were not applied, now or before.

        Raises `NotTakenError`.
        """
        answer = self.client.call("POST", "/api/v1/sync", {"sync_items": self._sent})
        if "results" not in answer:
            raise NotTakenError(answer)
        applied = answer["results"]["success"]
        for each in applied:
            self.versions[each["server_id"]] = each["updated_at"]
        return len(self._sent) - len(applied)


def devices(server: Server, count: int = CLIENTS, records: int = RECORDS) -> list[Device]:
    """Technicians with form fills, made through the API."""
    admin = server.client(ADMIN)
    structure = [{"name": name, "type": "text"} for name in record(0)]
    template = _data(admin.call("POST", "/api/v1/form_templates", {"name": "Push", "form_structure": structure}))
    template_id = template["form_template"]["id"]
    made = []
    for _ in range(count):
        email = f"{uuid4().hex}@example.com"
        user = {"email": email, "name": "Push", "role": "technician", "password": PASSWORD}
        user_id = _data(admin.call("POST", "/api/v1/users", user))["user"]["id"]
        body = {"date": "2024-03-15", "form_template_ids": [template_id], "assignee_id": user_id}
        inspection_id = _data(admin.call("POST", "/api/v1/inspections", body))["inspection"]["id"]
        device = Device(server.client(email), inspection_id, template_id)
        device.create(records)
        made.append(device)
    return made


def _data(answer: dict[str, Any]) -> Any:
    if not answer["success"]:
        raise RuntimeError(f"The benchmark's data could not be made: {answer}")
    return answer["data"]
