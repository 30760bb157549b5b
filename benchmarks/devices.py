"""Fieldpost's clients in a benchmark: technicians who have signed in, each with an inspection and its form fills."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from load import CLIENTS, RECORDS, changed, record
from server import ADMIN, PASSWORD, Client, Server


class Device:
    """A technician with an inspection and its form fills."""

    def __init__(self, client: Client, inspection_id: int, form_template_id: int) -> None:
        self._client = client
        self._parts = {"inspection_id": inspection_id, "form_template_id": form_template_id}
        self.versions: dict[int, str] = {}

    @property
    def ids(self) -> list[int]:
        """The form fills that were made."""
        return list(self.versions)

    def create(self, count: int) -> None:
        """Make form fills, in one batch."""
        failed = self._sync([{**self._parts, "client_id": str(uuid4()), "data": record(each)} for each in range(count)])
        if failed:
            raise RuntimeError(f"{failed} of {count} form fills could not be made.")

    def push(self, ids: Sequence[Any], tick: int) -> int:
        """One batch with a new local_id for each change, as devices must."""
        return self._sync([{"id": each, "updated_at": self.versions[each], "changes": changed(tick)} for each in ids])

    def upload(self, photo: bytes, field_name: str = "Riser_Photo") -> None:
        """Upload a photo to the first form fill."""
        boundary = uuid4().hex
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in {"form_fill_id": self.ids[0], "field_name": field_name}.items()
        )
        file = 'Content-Disposition: form-data; name="photo"; filename="photo.jpg"\r\nContent-Type: image/jpeg'
        body = f"{head}--{boundary}\r\n{file}\r\n\r\n".encode() + photo + f"\r\n--{boundary}--\r\n".encode()
        answer = self._client.call(
            "POST", "/api/v1/sync/upload_photo", body, f"multipart/form-data; boundary={boundary}"
        )
        if not answer["success"]:
            raise RuntimeError(f"The upload was refused: {answer}")

    def _sync(self, payloads: list[dict[str, Any]]) -> int:
        items = [{"type": "form_fill", "local_id": str(uuid4()), "data": each} for each in payloads]
        applied = self._client.call("POST", "/api/v1/sync", {"sync_items": items})["results"]["success"]
        for each in applied:
            self.versions[each["server_id"]] = each["updated_at"]
        return len(items) - len(applied)


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
