"""The line between a device and the server: Flask's test client, or HTTP, which breaks when a test says so."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask

from tests.support.device import Transport

#: What a line may do to the next request: let it pass, lose it, lose its answer, let it arrive twice.
PASS, LOSE_REQUEST, LOSE_ANSWER, TWICE = "pass", "lose request", "lose answer", "twice"

#: … or answer itself, as a hotel's portal, a proxy before a server that is gone, and a busy server do.
PORTAL, BAD_GATEWAY, BUSY, SLOW_DOWN = "portal", "bad gateway", "busy", "slow down"

ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {
    PORTAL: (200, {"Content-Type": "text/html"}, b"<html>Welcome! Please accept our conditions.</html>"),
    BAD_GATEWAY: (502, {"Content-Type": "text/html"}, b"<html>502 Bad Gateway</html>"),
    BUSY: (503, {"Retry-After": "3"}, b'{"success": false, "code": "try_again", "error": "Try again"}'),
    SLOW_DOWN: (429, {"Retry-After": "7"}, b'{"success": false, "code": "too_many_requests", "error": "Too many"}'),
}


class Line:
    """Carries requests to an application in this process; `fate` says what becomes of each."""

    def __init__(self, app: Flask, fate: Callable[[str, str], str] = lambda method, path: PASS) -> None:
        self.app = app
        self.fate = fate
        #: Method, path and status of every request that arrived.
        self.log: list[tuple[str, str, int]] = []

    def __call__(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Any, bytes]:
        fate = self.fate(method, path)
        if fate == LOSE_REQUEST:
            raise ConnectionError("the request was lost")
        if fate in ANSWERS:
            return ANSWERS[fate]
        for _ in range(2 if fate == TWICE else 1):
            answer = self.app.test_client().open(path, method=method, data=body, headers=dict(headers), buffered=True)
            self.log.append((method, path.partition("?")[0], answer.status_code))
        if fate == LOSE_ANSWER:
            raise ConnectionError("the answer was lost")
        return answer.status_code, answer.headers, answer.data


class HttpLine:
    """Carries requests to a server; every `cut`-th connection is cut once the request was sent."""

    def __init__(self, port: int, is_cut: Callable[[], bool] = lambda: False) -> None:
        self.port = port
        self.is_cut = is_cut

    def __call__(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Any, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers))
            if self.is_cut():
                raise ConnectionError("the connection was cut")
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()


class Witness:
    """Remembers what crossed a line: what was sent, and what of the answers the device really got to see."""

    def __init__(self, line: Transport) -> None:
        self.line: Any = line
        #: The batches as they were sent: body and headers.
        self.batches: list[tuple[bytes, dict[str, str]]] = []
        #: local_id -> item, of changes; local_id -> None, of uploads.
        self.sent: dict[str, Any] = {}
        #: The entries of all answers that arrived, and the answers to uploads.
        self.entries: list[dict[str, Any]] = []
        #: local_ids of what was sent at least once without an answer.
        self.once_unknown: set[str] = set()

    def __call__(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Any, bytes]:
        items = _items(path, body)
        for local_id, item in items.items():
            assert self.sent.setdefault(local_id, item) == item, "what was sent never changes"
        if path == "/api/v1/sync":
            self.batches.append((body, dict(headers)))
        try:
            status, found, answer = self.line(method, path, body, headers)
        except OSError:
            self.once_unknown |= items.keys()
            raise
        if status == 200 and answer.startswith(b"{"):
            self._note_entries(json.loads(answer), items)
        return status, found, answer

    def _note_entries(self, answer: dict[str, Any], items: dict[str, Any]) -> None:
        for entries in answer.get("results", {}).values():
            self.entries += entries
        if "photo_attachment_id" in answer:
            self.entries += [{**answer, "local_id": local_id} for local_id in items]

    @property
    def acknowledged(self) -> set[str]:
        """What the device was told is applied."""
        return {each["local_id"] for each in self.entries if "conflict_data" not in each and "code" not in each}

    @property
    def refused(self) -> set[str]:
        """What the device was told is not, and will not be: conflicts, and errors that are not retryable."""
        final = {each["local_id"] for each in self.entries if "conflict_data" in each or each.get("retryable") is False}
        return final - self.acknowledged

    @property
    def unknown(self) -> set[str]:
        """What was sent, without an answer that settles it."""
        return self.sent.keys() - self.acknowledged - self.refused

    @property
    def conflicts(self) -> list[dict[str, Any]]:
        """The conflicts of which the device was told."""
        return [each for each in self.entries if "conflict_data" in each]

    @property
    def replayed(self) -> int:
        """How often the answer was that of an earlier request."""
        return sum(bool(each.get("replayed")) for each in self.entries)


def _items(path: str, body: bytes) -> dict[str, Any]:
    """local_id -> item, of what a request asks the server to do; an upload's item is None."""
    if path == "/api/v1/sync":
        return {item["local_id"]: item for item in json.loads(body)["sync_items"]}
    if path.startswith("/api/v1/sync/upload_"):
        found = re.search(rb'name="local_id"\r\n\r\n(.+?)\r\n', body)
        assert found is not None, "an upload without a local_id cannot be told from another"
        return {found[1].decode(): None}
    return {}
