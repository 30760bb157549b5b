"""The line between a device and the server: Flask's test client, or HTTP, which breaks when a test says so."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask

#: What a line may do to the next request: let it pass, lose it, or lose its answer.
PASS, LOSE_REQUEST, LOSE_ANSWER, TWICE = "pass", "lose request", "lose answer", "twice"


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
