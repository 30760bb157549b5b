"""Costs of requests that strangers send: memory and processor time for the bytes that the server receives of them.

Each route gets hostile bodies without a token, in one process, on SQLite. Costs are those above a request with `{}`.
Memory is the peak that Python traces; of each body's processor time the least of some rounds counts. To the bytes of a
body that were read, one KiB is added for the head of the request. The worst body of each route is printed; of the
routes that need a token only the worst one. A route that reads no body costs the same whatever is sent. The password
hash is no part of this: the login rate bounds it.

    python benchmarks/hostile.py
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO

from flask import Flask
from flask_migrate import upgrade
from werkzeug.routing import Rule

from app import create_app
from app.config import API_PREFIX
from app.http.body import MAX_PUBLIC_VALUES

KIB = 1024
MIB = 1024 * KIB
#: Bytes of a request without its body.
HEAD = KIB
#: What a stranger's request should cost at most: memory for a byte received, and milliseconds for a MiB.
MEMORY_AIM, TIME_AIM = 12, 50
#: As many values as a call before the sign-in takes.
FEW = MAX_PUBLIC_VALUES - 5


@dataclass(frozen=True)
class Body:
    """A request body, and the encoding that it says it has."""

    data: bytes
    encoding: str = "identity"
    type: str = "application/json"


@dataclass(frozen=True)
class Cost:
    """The costs of one request."""

    received: int
    memory: float
    seconds: float

    def above(self, base: Cost) -> Cost:
        """The same without the costs of a request that asks for nothing."""
        return Cost(self.received, max(0, self.memory - base.memory), max(0, self.seconds - base.seconds))

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
        "a few hundred unknown keys": _filled(b"{", lambda index: b'"%x":0' % index, b"}", size, most=FEW),
        "a few hundred objects": _filled(b'{"email":[', lambda _: b"{}", b"]}", size, most=FEW // 2),
        "a few hundred equal keys": _filled(b'{"email":[', lambda _: b'{"":0,"":0}', b"]}", size, most=FEW // 3),
        "nesting that is taken": b'{"email":' + b"[" * 30 + b"]" * 30 + b"}",
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
    }
    large = _filled(b"[", lambda _: b"0", b"]", 4 * MIB)
    return {
        **{name: Body(document) for name, document in documents.items()},
        **forms,
        "4 MiB": Body(large),
        "4 MiB, packed": Body(gzip.compress(large), "gzip"),
    }


def send(app: Flask, method: str, address: str, body: Body) -> int:
    """Send one request without a token. Returns the bytes that were received."""
    stream = BytesIO(body.data)
    headers = {"Content-Type": body.type, "Content-Encoding": body.encoding}
    with app.test_client().open(
        address, method=method, input_stream=stream, content_length=len(body.data), headers=headers
    ) as answer:
        answer.get_data()
    return HEAD + stream.tell()


def measure(app: Flask, method: str, address: str, body: Body, rounds: int) -> Cost:
    """The costs of one such request."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        received = send(app, method, address, body)
        seconds.append(time.process_time() - start)
    tracemalloc.start()
    try:
        send(app, method, address, body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return Cost(received, peak, min(seconds))


def routes(app: Flask) -> Iterator[tuple[str, str, bool]]:
    """Method, address and openness of every route."""
    with app.test_request_context():
        adapter = app.url_map.bind("localhost")
    for rule in sorted(app.url_map.iter_rules(), key=lambda each: each.rule):
        is_open = getattr(app.view_functions[rule.endpoint], "is_public", False)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            values = {name: _argument(rule, name) for name in rule.arguments}
            address = adapter.build(rule.endpoint, values, method=method)
            yield method, address, is_open or not rule.rule.startswith(f"{API_PREFIX}/")


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
        bodies = hostile_bodies(app.extensions["fieldpost.settings"].max_public_bytes)
        closed: dict[str, Cost] = {}
        for method, address, is_open in routes(app):
            if arguments.only not in address:
                continue
            base = measure(app, method, address, Body(b"{}"), arguments.rounds)
            costs = {
                name: measure(app, method, address, body, arguments.rounds).above(base) for name, body in bodies.items()
            }
            read = {name: cost for name, cost in costs.items() if cost.received > HEAD}
            if is_open:
                print(f"{method:6} {address:32} {worst(read) if read else '       reads no body'}", flush=True)
            else:
                closed |= {f"{method} {address}": max(costs.values(), key=lambda cost: cost.multiple)}
        if closed:
            print(f"{'all routes that need a token':39} {worst(closed)}")


if __name__ == "__main__":
    main()
