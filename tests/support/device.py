"""A device as an app should build one: what it keeps, what it sends, how it reads the answers (docs/clients.md).

The example for authors of clients in other languages, and the client of our own tests. It signs in, sends batches and
photos, and reads the feed: no other call is needed. Everything that must survive a restart of the app is in `Store`,
which is plain JSON. Transport and waiting are given from outside.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode
from uuid import uuid4

API = "/api/v1"

#: What a device sends at most in one batch; the server takes 1000.
BATCH_ITEMS = 200

#: Entities in the order in which they stand above each other.
ENTITIES = ("user", "form_template", "inspection", "form_fill", "attachment")


class Offline(Exception):
    """No answer, or none that is ours: whether the request was handled is unknown."""


class SignedOut(Exception):
    """The tokens no longer work: somebody has to sign in. The queue stays."""


class SomebodyElse(Exception):
    """The store is another user's. Their queue is never sent with these tokens; make a store for each user."""


class Transport(Protocol):
    """Sends one request. Raises `OSError` where no answer came."""

    def __call__(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Any, bytes]:
        """Status, headers (with `get`) and body of the answer."""


@dataclass
class Change:
    """One queued change of one row."""

    type: str
    #: The row: `[entity, id or client_id]`.
    row: list[Any]
    #: What to send beside id and version: `{"changes": {…}}`, `{"status": …}`, …
    data: dict[str, Any]
    #: The version that it was made on; None where the device held none.
    base: str | None
    local_id: str = field(default_factory=lambda: str(uuid4()))
    #: Whether the user decided a conflict with it: then it goes without a strategy.
    is_decision: bool = False
    #: When it was made, if the device has a clock.
    made_at: str | None = None
    #: The item as it was sent; from then on it never changes.
    sent: dict[str, Any] | None = None


@dataclass
class Photo:
    """A photo taken on the device, kept until the server has proved that it has it."""

    row: list[Any]
    field_name: str
    content: str
    local_id: str = field(default_factory=lambda: str(uuid4()))
    #: Given by the server once it is uploaded.
    attachment_id: str | None = None
    #: The server's answer where it refused the photo for good: to be shown to the user, never discarded.
    refusal: dict[str, Any] | None = None

    @property
    def bytes(self) -> bytes:
        """The file."""
        return base64.b64decode(self.content)


@dataclass
class Store:
    """All that an app keeps between two starts."""

    device_id: str = field(default_factory=lambda: str(uuid4()))
    #: Whose it is, since the first sign-in.
    user_id: int | None = None
    access_token: str = ""
    refresh_token: str = ""
    #: Entity -> id -> the record as the server last showed it.
    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {each: {} for each in ENTITIES})
    #: client_id -> id, of form fills made here.
    made_here: dict[str, int] = field(default_factory=dict)
    cursor: str | None = None
    #: What a walk that is under way has listed so far, and what else the server has answered for meanwhile.
    walked: list[list[str]] | None = None
    queue: list[Change] = field(default_factory=list)
    photos: list[Photo] = field(default_factory=list)
    #: Changes that the server refused for good, with its entry: to be shown to the user, never discarded.
    set_aside: list[tuple[Change, dict[str, Any]]] = field(default_factory=list)

    def dump(self) -> str:
        """The store as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Store:
        """The store that `dump` wrote."""
        kept = json.loads(text)
        kept["queue"] = [Change(**each) for each in kept["queue"]]
        kept["photos"] = [Photo(**each) for each in kept["photos"]]
        kept["set_aside"] = [(Change(**change), entry) for change, entry in kept["set_aside"]]
        return cls(**kept)


#: Decides a conflict: `(change, conflict_data) -> the fields to set on the server's version`, or None to let it be.
Decide = Callable[[Change, dict[str, Any]], dict[str, Any] | None]


def keep_server(change: Change, conflict: dict[str, Any]) -> None:
    """Let the server's version stand; an app would ask."""


class Device:
    """One installation of the app, with one user."""

    def __init__(
        self,
        transport: Transport,
        store: Store | None = None,
        *,
        decide: Decide = keep_server,
        wait: Callable[[float], None] = lambda seconds: None,
        strategy: str | None = "merge",
        joins: bool = True,
        batch_items: int = BATCH_ITEMS,
        clock: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.transport = transport
        self.store = store or Store()
        self.decide = decide
        self.wait = wait
        self.strategy = strategy
        #: Whether changes of one form that were not sent yet become one.
        self.joins = joins
        self.batch_items = batch_items
        #: The present time, as `made_at` wants it. With it, a copy of a request that arrives late undoes nothing.
        self.clock = clock

    # What the user does, online or not

    def sign_in(self, email: str, password: str) -> None:
        """Raises `Offline`, `SignedOut` where the server refuses, `SomebodyElse` where the store is not this user's."""
        body = {"email": email, "password": password, "device_id": self.store.device_id}
        status, answer = self._send("POST", "/auth/login", body, token="")
        if status != 200:
            raise SignedOut(answer["error"])
        if self.store.user_id not in (None, answer["user"]["id"]):
            raise SomebodyElse(email)
        self.store.user_id = answer["user"]["id"]
        self._take_tokens(answer)

    def form_fill(self, key: Any) -> dict[str, Any]:
        """The form's data as the user sees them: what is held, with the queued changes on top."""
        held = self.store.rows["form_fill"].get(str(self._id(key)), {})
        shown = dict(held.get("data", {}))
        for change in self._queued(["form_fill", key]):
            shown |= change.data.get("changes") or change.data.get("data") or {}
        return shown

    def structure(self, key: Any) -> list[dict[str, Any]]:
        """The fields of the form, as its form template lists them."""
        held: dict[str, Any] = self.store.rows["form_fill"][str(self._id(key))]
        structure: list[dict[str, Any]] = self._held("form_template", held["form_template_id"])["form_structure"]
        return structure

    def people(self, inspection_id: int) -> list[str]:
        """The names of an inspection's owner and assignee."""
        inspection = self._held("inspection", inspection_id)
        ids = [inspection[role] for role in ("owner_id", "assignee_id") if inspection[role] is not None]
        return [self._held("user", user_id)["name"] for user_id in ids]

    def edit(self, key: Any, **changes: Any) -> None:
        """Set fields of a form fill, named by its id or by the client_id that `create` returned."""
        self._add("form_fill", ["form_fill", key], {"changes": changes})

    def edit_inspection(self, inspection_id: int, **changes: Any) -> None:
        """Set `status` or `notes`."""
        self._add("inspection", ["inspection", inspection_id], changes)

    def create(self, inspection_id: int, form_template_id: int, **data: Any) -> str:
        """A new form fill; the client_id by which it is named from now on."""
        client_id = str(uuid4())
        values = {"inspection_id": inspection_id, "form_template_id": form_template_id, "client_id": client_id}
        self._add("form_fill", ["form_fill", client_id], {**values, "data": data})
        return client_id

    def photograph(self, key: Any, field_name: str, content: bytes) -> None:
        """Take a photo; it is uploaded after the form that it belongs to."""
        self.store.photos.append(Photo(["form_fill", key], field_name, base64.b64encode(content).decode()))

    def delete_photo(self, key: Any, field_name: str, attachment_id: str) -> None:
        """Delete one photo; the id is named, so that photos never seen here stay."""
        self._add("photo_delete", ["form_fill", key], {"field_name": field_name, "photo_attachment_id": attachment_id})

    # Synchronisation: one request at a time

    def sync(self) -> None:
        """Send what is queued, then the photos, then fetch what changed elsewhere. Raises `Offline`, `SignedOut`."""
        self.push()
        self.upload()
        self.pull()
        self.release_photos()

    def push(self) -> None:
        """Send batches until nothing is left that can be sent now."""
        tried: set[str] = set()
        while batch := self._next_batch(tried):
            tried |= {change.local_id for change in batch}
            self._push_batch(batch)

    def upload(self) -> None:
        """Send the photos whose forms the server knows."""
        for photo in self.store.photos:
            waits = any("client_id" in change.data for change in self._queued(photo.row))
            if photo.attachment_id is None and photo.refusal is None and not waits:
                fields = {"form_fill_id": str(photo.row[1]), "field_name": photo.field_name, "local_id": photo.local_id}
                status, answer = self._send_form("/sync/upload_photo", fields, "photo", photo.bytes)
                if status == 200:
                    photo.attachment_id = answer["photo_attachment_id"]
                else:
                    photo.refusal = answer

    def pull(self) -> None:
        """Fetch what changed since the cursor; without one, everything."""
        if self.store.cursor is None:
            self.store.walked = []
        try:
            while self._pull_page():
                pass
        except _CursorExpired:
            self.store.cursor = None
            self.pull()
            return
        if self.store.walked is not None:
            # What a complete walk did not list is gone; unsent work is in the queue, not here.
            listed = {tuple(each) for each in self.store.walked}
            for entity, held in self.store.rows.items():
                self.store.rows[entity] = {key: held[key] for key in held if (entity, key) in listed}
            self.store.walked = None

    def photo(self, attachment_id: str) -> bytes:
        """The bytes of an attachment that is held. Raises `Offline` where something else arrived."""
        found = self._request("GET", f"/attachments/{attachment_id}", b"", {})[2]
        if _sha256(found) != self.store.rows["attachment"][attachment_id]["sha256"]:
            raise Offline("not the photo that was asked for")
        return found

    def release_photos(self) -> None:
        """Forget the local copies of photos of which the server proves that it has them."""
        uploaded = [photo for photo in self.store.photos if photo.attachment_id is not None]
        if not uploaded:
            return
        asked = [
            {"form_fill_id": photo.row[1], "field_name": photo.field_name, "sha256": _sha256(photo.bytes)}
            for photo in uploaded
        ]
        status, answer = self._send("POST", "/sync/verify_attachments", asked)
        if status == 200:
            for photo, each in zip(uploaded, answer["data"]["attachments"], strict=True):
                if each["status"] == "missing":
                    photo.attachment_id = None
                else:
                    # Stored, or deleted by somebody since.
                    self.store.photos.remove(photo)

    # The queue

    def _add(self, type_: str, row: list[Any], data: dict[str, Any]) -> None:
        queued = self._queued(row)
        last = queued[-1] if queued else None
        if self.joins and last is not None and last.sent is None and last.type == type_ and "changes" in last.data:
            # Nobody has seen it yet: the two are one.
            last.data["changes"] = {**last.data["changes"], **data["changes"]}
            last.made_at = self.clock()
            return
        unsent = next((each for each in queued if each.sent is None), None)
        base = unsent.base if unsent is not None else self._version(row)
        self.store.queue.append(Change(type_, row, data, base, made_at=self.clock()))

    def _held(self, entity: str, key: Any) -> dict[str, Any]:
        return self.store.rows[entity][str(key)]

    def _queued(self, row: list[Any]) -> list[Change]:
        return [each for each in self.store.queue if self._is_same(each.row, row)]

    def _is_same(self, one: list[Any], other: list[Any]) -> bool:
        return bool(one[0] == other[0] and self._id(one[1]) == self._id(other[1]))

    def _id(self, key: Any) -> Any:
        return self.store.made_here.get(key, key) if isinstance(key, str) else key

    def _version(self, row: list[Any]) -> str | None:
        held = self.store.rows[row[0]].get(str(self._id(row[1])))
        return held["updated_at"] if held else None

    def _next_batch(self, tried: set[str]) -> list[Change]:
        """Whole rows, each with all its changes in order: first what is unanswered, again, then what is new."""
        batch: list[Change] = []
        for group in self._groups():
            if any(each.local_id in tried for each in group):
                continue
            if batch and len(batch) + len(group) > self.batch_items:
                break
            batch += group
        return batch

    def _groups(self) -> Iterator[list[Change]]:
        """The queue by rows, in the order of each row's first change."""
        groups: dict[tuple[str, Any], list[Change]] = {}
        for change in self.store.queue:
            groups.setdefault((change.row[0], self._id(change.row[1])), []).append(change)
        yield from groups.values()

    def _item(self, change: Change) -> dict[str, Any]:
        """The item of a change, made when it is first sent and kept."""
        if change.sent is None:
            data = dict(change.data)
            if change.type == "photo_delete":
                data["form_fill_id"] = change.row[1]
            elif "client_id" not in data:
                data["id"] = change.row[1]
                if change.base is not None:
                    data["updated_at"] = change.base
                    if self.strategy is not None and not change.is_decision:
                        data["resolve_strategy"] = self.strategy
            change.sent = {"type": change.type, "local_id": change.local_id, "data": data}
            if change.made_at is not None:
                change.sent["made_at"] = change.made_at
        return change.sent

    def _push_batch(self, batch: list[Change]) -> None:
        items = [self._item(change) for change in batch]
        status, answer = self._send("POST", "/sync", {"sync_items": items})
        if status == 413:
            self._split(batch, answer)
        elif status == 200:
            takers = {"success": self._applied, "conflicts": self._conflicted, "errors": self._refused}
            entries = [(entry["index"], kind, entry) for kind in takers for entry in answer["results"][kind]]
            # In the order of the items: each entry shows its row as it was at that item's turn.
            for index, kind, entry in sorted(entries, key=lambda each: each[0]):
                takers[kind](batch[index], entry)

    def _split(self, batch: list[Change], answer: dict[str, Any]) -> None:
        """Too much at once: half of it, cut between rows. A row that is too much alone is set aside."""
        cuts = [index for index in range(1, len(batch)) if not self._is_same(batch[index - 1].row, batch[index].row)]
        if not cuts:
            for change in batch:
                self._set_aside(change, answer)
            return
        middle = min(cuts, key=lambda cut: abs(cut - len(batch) // 2))
        self._push_batch(batch[:middle])
        self._push_batch(batch[middle:])

    def _applied(self, change: Change, entry: dict[str, Any]) -> None:
        self.store.queue.remove(change)
        client_id = change.data.get("client_id")
        if client_id is not None:
            self.store.made_here[client_id] = entry["server_id"]
        version = entry.get("updated_at")
        if version is None:
            return
        held = self.store.rows[change.row[0]].setdefault(str(entry["server_id"]), {"id": entry["server_id"]})
        if "data" in entry:
            _set_content(held, change.row[0], entry["data"])
        else:
            local = change.data.get("changes") or change.data.get("data") or change.data
            _set_content(held, change.row[0], {**_content(held, change.row[0]), **local})
        held["updated_at"] = version
        self._list(change.row[0], entry["server_id"])
        for later in self._queued(change.row):
            if later.sent is None:
                later.base = version

    def _conflicted(self, change: Change, entry: dict[str, Any]) -> None:
        """Keep the server's version as the new base, and send what was decided as a new change."""
        self.store.queue.remove(change)
        conflict = entry["conflict_data"]
        held = self.store.rows[change.row[0]].setdefault(str(entry["server_id"]), {"id": entry["server_id"]})
        _set_content(held, change.row[0], conflict["server_data"])
        held["updated_at"] = conflict["server_version"]
        decision = self.decide(change, conflict)
        if decision:
            data = {"changes": decision} if change.type == "form_fill" else dict(decision)
            base = conflict["server_version"]
            new = Change(change.type, change.row, data, base, is_decision=True, made_at=self.clock())
            position = next(
                (index for index, each in enumerate(self.store.queue) if self._is_same(each.row, change.row)),
                len(self.store.queue),
            )
            self.store.queue.insert(position, new)

    def _refused(self, change: Change, entry: dict[str, Any]) -> None:
        if not entry.get("retryable"):
            self._set_aside(change, entry)

    def _set_aside(self, change: Change, entry: dict[str, Any]) -> None:
        self.store.queue.remove(change)
        self.store.set_aside.append((change, entry))

    # What the server tells

    def _pull_page(self) -> bool:
        query = f"?{urlencode({'cursor': self.store.cursor})}" if self.store.cursor else ""
        status, answer = self._send("GET", f"/sync/changes{query}")
        if status == 410:
            raise _CursorExpired
        if status != 200:
            raise Offline(answer["error"])
        for change in answer["data"]["changes"]:
            if change["entity"] not in ENTITIES:
                continue
            if change["op"] == "remove":
                self._forget(change["entity"], change["id"])
            elif change["op"] == "upsert":
                self._hold(change["entity"], change["record"])
        self.store.cursor = answer["data"]["cursor"]
        return bool(answer["data"]["has_more"])

    def _hold(self, entity: str, record: dict[str, Any]) -> None:
        if entity == "form_fill" and record.get("client_id"):
            self.store.made_here[record["client_id"]] = record["id"]
        self.store.rows[entity][str(record["id"])] = record
        self._list(entity, record["id"])

    def _list(self, entity: str, key: Any) -> None:
        """The server has the row: a walk that is under way need not list it, and may have begun before it was made."""
        if self.store.walked is not None:
            self.store.walked.append([entity, str(key)])

    def _forget(self, entity: str, key: Any) -> None:
        """The rows below it are named by themselves. Queued work stays."""
        self.store.rows[entity].pop(str(key), None)

    # Requests

    def _send(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        content = b"" if body is None else json.dumps(body).encode()
        status, _, answer = self._request(method, path, content, {"Content-Type": "application/json"}, token)
        return status, _read_json(answer)

    def _send_form(self, path: str, fields: Mapping[str, str], name: str, content: bytes) -> tuple[int, Any]:
        boundary = uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, value in fields.items()
        ]
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="photo.jpg"\r\n\r\n'.encode()
        body = b"".join([*parts, head, content, f"\r\n--{boundary}--\r\n".encode()])
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        status, _, answer = self._request("POST", path, body, headers)
        return status, _read_json(answer)

    def _request(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], token: str | None = None
    ) -> tuple[int, Any, bytes]:
        """One request; signs in anew and waits where the server says so."""
        is_refreshed = False
        for _ in range(10):
            used = self.store.access_token if token is None else token
            authorised = {**headers, **({"Authorization": f"Bearer {used}"} if used else {})}
            try:
                status, found, answer = self.transport(method, API + path, body, authorised)
            except OSError as error:
                raise Offline(str(error)) from error
            if status == 401 and token is None and not is_refreshed:
                self._refresh()
                is_refreshed = True
            elif status == 401 and token is None:
                raise SignedOut(_read_json(answer)["error"])
            elif status in (429, 503):
                self.wait(float(found.get("Retry-After") or 1))
            elif status >= 500:
                raise Offline(f"{status} {answer[:200]!r}")
            else:
                return status, found, answer
        raise Offline("the server has no time")

    def _refresh(self) -> None:
        status, answer = self._send("POST", "/auth/refresh", token=self.store.refresh_token)
        if status != 200:
            raise SignedOut(answer["error"])
        self._take_tokens(answer)

    def _take_tokens(self, answer: dict[str, Any]) -> None:
        self.store.access_token, self.store.refresh_token = answer["access_token"], answer["refresh_token"]


class _CursorExpired(Exception):
    """The feed cannot be continued."""


def _read_json(answer: bytes) -> Any:
    """Our JSON; a portal's page or a proxy's is no answer."""
    try:
        found = json.loads(answer)
    except ValueError:
        raise Offline(f"no JSON: {answer[:100]!r}") from None
    if not isinstance(found, dict) or "success" not in found:
        raise Offline("JSON of somebody else")
    return found


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _content(held: dict[str, Any], entity: str) -> dict[str, Any]:
    """A record's fields: the data of a form fill, else its own keys."""
    return dict(held.get("data", {})) if entity == "form_fill" else held


def _set_content(held: dict[str, Any], entity: str, content: dict[str, Any]) -> None:
    if entity == "form_fill":
        held["data"] = content
    else:
        held.update(content)
