"""Costs of requests that strangers send: memory and processor time for the bytes that the server receives of them.

Each route gets hostile bodies and heads without a sign-in, in one process, on SQLite. Costs are those above a request
of the same kind that is small, because a request costs something whatever it sends. Memory is the peak that Python
traces, the lesser of two, because the first request may bring something that stays. Of each request's processor time
the least of some rounds counts, and less than `NOISE` above that of the small one does not. To the bytes of a body that
were read, its head is added, of one KiB at least. The worst request for each route is printed; of the routes that need
a sign-in only the worst one. The password hash is no part of this: the login rate bounds it. Nor are some 0.3 MB that
each page with a form takes for a moment, whatever was sent: zlib takes them to pack the form's token.

    python benchmarks/hostile.py
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
import time
import tracemalloc
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from flask import Flask
from flask_migrate import upgrade
from werkzeug.routing import Rule
from werkzeug.test import create_environ, run_wsgi_app

from app import create_app
from app.accounts.bearer import LONGEST_TOKEN
from app.http.body import MAX_PUBLIC_TEXTS, MAX_PUBLIC_VALUES
from app.http.requests import MOST_PARTS, MOST_PUBLIC_FIELDS

KIB = 1024
MIB = 1024 * KIB
#: Bytes of a request without its body and what is hostile in its head.
HEAD = KIB
#: gunicorn's limits for a line of the head, and for the address.
LINE, ADDRESS = 8190, 4000
#: Bytes of a small body, or of what is hostile in a head.
SMALL = 64
#: What a stranger's request should cost at most: memory for a byte received, and milliseconds for a MiB.
MEMORY_AIM, TIME_AIM = 12, 50
#: Seconds of processor time by which a request differs from the same one, sent again.
NOISE = 0.0002
#: As many values, and texts, as a call before the sign-in takes.
VALUES, TEXTS = MAX_PUBLIC_VALUES - 5, MAX_PUBLIC_TEXTS - 1


@dataclass(frozen=True)
class Body:
    """A request body with the encoding that it says it has, and the head before it."""

    data: bytes = b"{}"
    encoding: str = "identity"
    type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""

    @property
    def head(self) -> int:
        """Bytes of the head."""
        return HEAD + len(self.query) + sum(len(name) + len(value) for name, value in self.headers.items())


@dataclass(frozen=True)
class Cost:
    """The costs of one request."""

    received: int
    memory: float
    seconds: float

    def above(self, base: Cost) -> Cost:
        """The same without the costs of a request that asks for nothing."""
        seconds = self.seconds - base.seconds
        return Cost(self.received, max(0, self.memory - base.memory), seconds if seconds > NOISE else 0)

    @property
    def multiple(self) -> float:
        """Bytes of memory for each byte received."""
        return self.memory / self.received

    @property
    def milliseconds(self) -> float:
        """Milliseconds of processor time for each MiB received."""
        return self.seconds * 1000 * MIB / self.received


def _filled(
    start: bytes,
    piece: Callable[[int], bytes],
    end: bytes,
    size: int,
    *,
    most: int | None = None,
    between: bytes = b",",
) -> bytes:
    """`start`, as many pieces as fit, but not more than `most`, and `end`."""
    pieces: list[bytes] = []
    left = size - len(start) - len(end)
    while len(pieces) != most and (left := left - len(piece(len(pieces))) - len(between)) >= 0:
        pieces.append(piece(len(pieces)))
    return start + between.join(pieces) + end


def hostile_bodies(size: int) -> dict[str, Body]:
    """Bodies of at most `size` bytes, and some that are far larger."""
    key = b'{"n":1234567890123456,"%b":[' % (b"K" * (size // 2))
    documents = {
        "a long key above an array": _filled(key, lambda _: b"0", b"]}", size),
        "numbers": _filled(b"[", lambda _: b"0", b"]", size),
        "numbers, a long one": _filled(b"[1234567890123456,", lambda _: b"0", b"]", size),
        "fractions": _filled(b"[", lambda _: b"1e1", b"]", size),
        "texts": _filled(b"[", lambda index: b'"%02x"' % (index % 256), b"]", size),
        "objects": _filled(b"[", lambda _: b"{}", b"]", size),
        "objects with keys": _filled(b"[", lambda _: b'{"a":0}', b"]", size),
        "unknown keys": _filled(b"{", lambda index: b'"%x":0' % index, b"}", size),
        "nesting": b"[" * (size // 2) + b"]" * (size // 2),
        "brackets": b"[" * size,
        "escapes": _filled(b'{"email":"', lambda _: b"\\ud800", b'"}', size),
        # Not refused for their number.
        "unknown keys that are read": _filled(b"{", lambda index: b'"%x":0' % index, b"}", size, most=TEXTS),
        "objects that are read": _filled(b'{"email":[', lambda _: b"{}", b"]}", size, most=VALUES // 2),
        "equal keys that are read": _filled(b'{"email":[', lambda _: b'{"":0,"":0}', b"]}", size, most=TEXTS // 2),
        "nesting that is read": b'{"email":' + b"[" * min(30, size // 8) + b"]" * min(30, size // 8) + b"}",
    }
    boundary = b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n"
    forms = {
        "fields of a form": Body(
            _filled(b"", lambda index: b"%x=" % index, b"", size, between=b"&"),
            type="application/x-www-form-urlencoded",
        ),
        "escapes in a form": Body(b"a=" + b"%41" * ((size - 2) // 3), type="application/x-www-form-urlencoded"),
        "parts of a form": Body(
            _filled(b"", lambda _: boundary, b"--b--\r\n", size, between=b"\r\n"),
            type="multipart/form-data; boundary=b",
        ),
        "fields that are read": Body(
            _filled(b"", lambda index: b"%x=" % index, b"", size, most=MOST_PUBLIC_FIELDS, between=b"&"),
            type="application/x-www-form-urlencoded",
        ),
    }
    large = b"[" + b"0," * (256 * size) + b"0]"
    return {
        **{name: Body(document) for name, document in documents.items()},
        **forms,
        **hostile_heads(min(size, LINE)),
        "megabytes": Body(large),
        "megabytes, packed": Body(gzip.compress(large), "gzip"),
    }


def hostile_heads(size: int) -> dict[str, Body]:
    """Requests that have a line of this many bytes in their heads, or an address of half of them."""
    token = urlsafe_b64encode(_filled(b'{"alg":"HS256","a":[', lambda _: b"{}", b"]}", size * 3 // 4 - 20)).decode()
    address = min(ADDRESS, size // 2)
    lists = {
        f"{name}, {kind}": Body(headers={name: _filled(b"", piece, b"", size, most=most).decode()})
        for name in ("Cookie", "Accept", "Accept-Language", "Accept-Encoding", "If-None-Match", "X-Forwarded-For")
        for kind, piece, most in (
            ("many parts", lambda index: b"%x=1;" % index, None),
            ("parts that are read", lambda index: b"%x=1;" % index, MOST_PARTS // 2),
            ("long parts that are read", lambda index: b"%074x=1;" % index, MOST_PARTS // 2),
        )
    }
    return {
        **lists,
        "Accept-Language, 50 lines": Body(headers={"Accept-Language": "a," * (size * 25)}),
        "a long token": Body(headers={"Authorization": f"Bearer {token}.e30.e30"}),
        "a token that is read": Body(headers={"Authorization": f"Bearer {token[: LONGEST_TOKEN - 10]}.e30.e30"}),
        "escapes in the query": Body(query="next=" + "%41" * (address // 3)),
        "arguments in the query": Body(query="a&" * (address // 2)),
    }


def request_of(method: str, address: str, body: Body) -> dict[str, Any]:
    """The WSGI environment of a request. Werkzeug's test client would take apart what it sends."""
    headers = {"Content-Type": body.type, "Content-Encoding": body.encoding, **body.headers}
    environ = create_environ(address, method=method, headers=headers, input_stream=BytesIO(body.data))
    return {**environ, "QUERY_STRING": body.query, "CONTENT_LENGTH": str(len(body.data))}


def measure(app: Flask, method: str, address: str, small: Body, large: Body, rounds: int) -> Cost:
    """The costs of a request above those of a small one, which is sent in turn with it: the machine has other work."""
    seconds = {id(body): float("inf") for body in (small, large)}
    for body in (small, large) * rounds:
        environ = request_of(method, address, body)
        start = time.process_time()
        run_wsgi_app(app, environ, buffered=True)
        seconds[id(body)] = min(seconds[id(body)], time.process_time() - start)
    base, cost = (
        Cost(*min(memory_of(app, method, address, body) for _ in range(2)), seconds=seconds[id(body)])
        for body in (small, large)
    )
    return cost.above(base)


def memory_of(app: Flask, method: str, address: str, body: Body) -> tuple[int, int]:
    """The bytes that are received of one such request, and the most memory that it takes."""
    environ = request_of(method, address, body)
    tracemalloc.start()
    try:
        run_wsgi_app(app, environ, buffered=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return body.head + environ["wsgi.input"].tell(), peak


def routes(app: Flask) -> Iterator[tuple[str, str, bool]]:
    """Method, address and openness of every route."""
    with app.test_request_context():
        adapter = app.url_map.bind("localhost")
    for rule in sorted(app.url_map.iter_rules(), key=lambda each: each.rule):
        is_open = getattr(app.view_functions[rule.endpoint], "is_public", False)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            values = {name: _argument(rule, name) for name in rule.arguments}
            address = adapter.build(rule.endpoint, values, method=method)
            yield method, address, is_open


def _argument(rule: Rule, name: str) -> object:
    return 1 if hasattr(rule._converters[name], "num_convert") else "1"


def worst(costs: Mapping[str, Cost]) -> str:
    """The cells of a table row: the greatest memory and the greatest time, each with the body that caused it."""
    memory = max(costs, key=lambda name: costs[name].multiple)
    seconds = max(costs, key=lambda name: costs[name].milliseconds)
    multiple, milliseconds = costs[memory].multiple, costs[seconds].milliseconds
    marks = ["over" if multiple > MEMORY_AIM else "", "over" if milliseconds > TIME_AIM else ""]
    return f"{multiple:8.1f} x {marks[0]:4} {memory:25} {milliseconds:8.1f} ms/MiB {marks[1]:4} {seconds}"


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", default="", help="routes that have this in their addresses")
    arguments = parser.parse_args()
    print(f"Aims: at most {MEMORY_AIM} bytes of memory a byte received, and {TIME_AIM} ms a MiB.")
    with tempfile.TemporaryDirectory(prefix="fieldpost-benchmark-") as directory:
        app = create_app({"FIELDPOST_DATA_DIR": directory, "DATABASE_URL": "", "FIELDPOST_LOG_LEVEL": "ERROR"})
        with app.app_context():
            upgrade()
        small, bodies = hostile_bodies(SMALL), hostile_bodies(app.extensions["fieldpost.settings"].max_public_bytes)
        closed: dict[str, Cost] = {}
        for method, address, is_open in routes(app):
            if arguments.only not in address:
                continue
            costs = {
                name: measure(app, method, address, small[name], body, arguments.rounds)
                for name, body in bodies.items()
            }
            if is_open:
                print(f"{method:6} {address:32} {worst(costs)}", flush=True)
            else:
                closed |= {f"{method} {address}: {name}": cost for name, cost in costs.items()}
        if closed:
            print(f"{'all routes that need a sign-in':39} {worst(closed)}")


if __name__ == "__main__":
    main()
