"""Metrics for Prometheus: batches, operations, handlers, requests, connections, storage errors.

Each worker process counts for itself. Under gunicorn, prometheus_client keeps the numbers in files that all workers of
a server share (`gunicorn_conf.py` names the directory before anything is imported), so any worker can answer for all.
The number of label values is bounded: operation types come from the registry, addresses are the rules of routes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import Engine, event

from app.core.database.engine import db
from app.http import numbers

#: The directory of the workers' numbers, set by `gunicorn_conf.py`. prometheus_client reads it at import.
SHARED = "PROMETHEUS_MULTIPROC_DIR"

#: The label for an item of an unknown type, and for an address without a route.
UNKNOWN, UNMATCHED = "unknown", "unmatched"

#: Known methods; all others are counted together.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

#: Upper bounds of the histograms' buckets, in seconds.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

# These would double the number of series, to say when each of them began.
disable_created_metrics()  # type: ignore[no-untyped-call]

numbers.reserve_pages()

own = CollectorRegistry()

batches = Histogram(
    "fieldpost_batch_seconds", "Duration of a batch, from its items to its commit", buckets=SECONDS, registry=own
)
operations = Counter("fieldpost_operations", "Items by type and outcome", ("type", "outcome"), registry=own)
second_passes = Counter(
    "fieldpost_second_passes", "Batches run again with a savepoint around each operation", registry=own
)
handler_errors = Counter(
    "fieldpost_handler_errors", "Operations that failed by a bug of their handler", ("type",), registry=own
)
handler_calls = Counter("fieldpost_handler_calls", "Calls of a handler's apply", ("type",), registry=own)
handler_seconds = Counter("fieldpost_handler_seconds", "Time spent in a handler's apply", ("type",), registry=own)
slow_handlers = Counter(
    "fieldpost_slow_handlers", "Times that a plugin's code took over a second for an item", ("type",), registry=own
)
requests = Counter("fieldpost_requests", "Requests answered", ("method", "route", "status"), registry=own)
request_seconds = Histogram(
    "fieldpost_request_seconds", "Duration of a request", ("method", "route"), buckets=SECONDS, registry=own
)
connections_open = Gauge(
    "fieldpost_connections_open", "Database connections that are open", multiprocess_mode="livesum", registry=own
)
connections_used = Gauge(
    "fieldpost_connections_used", "Database connections that are in use", multiprocess_mode="livesum", registry=own
)
storage_errors = Counter("fieldpost_storage_errors", "Errors of the storage of photos and signatures", registry=own)


@dataclass(slots=True)
class Tally:
    """The counts of one batch, so that the metrics are updated once for a batch and not for each item."""

    #: (type, outcome) -> items.
    outcomes: dict[tuple[str, str], int] = field(default_factory=dict)
    #: type -> operations that failed by a bug.
    failures: dict[str, int] = field(default_factory=dict)
    #: type -> calls of the handler, and seconds in it.
    calls: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add_outcome(self, type_: str, outcome: str, *, is_failure: bool = False) -> None:
        """Count an item with this outcome; `is_failure`: its handler has a bug."""
        self.outcomes[type_, outcome] = self.outcomes.get((type_, outcome), 0) + 1
        if is_failure:
            self.failures[type_] = self.failures.get(type_, 0) + 1

    def add_call(self, type_: str, started: float) -> None:
        """Count a call of a handler that began at `started` (`time.perf_counter`)."""
        self.calls[type_] = self.calls.get(type_, 0) + 1
        self.seconds[type_] = self.seconds.get(type_, 0.0) + time.perf_counter() - started


def count_batch(tally: Tally, seconds: float) -> None:
    """Count a batch that was applied and committed within `seconds`."""
    batches.observe(seconds)
    for (type_, outcome), count in tally.outcomes.items():
        operations.labels(type_, outcome).inc(count)
    for type_, count in tally.failures.items():
        handler_errors.labels(type_).inc(count)
    for type_, count in tally.calls.items():
        handler_calls.labels(type_).inc(count)
        handler_seconds.labels(type_).inc(tally.seconds[type_])


def init_metrics(app: Flask) -> None:
    """Count and time every request, and count the connections to the database."""
    directory = shared_directory()
    if directory is not None:
        numbers.merge_ended(directory)
    app.before_request(_start)
    app.after_request(_count_request)
    with app.app_context():
        _watch_pool(db.engine)


def _start() -> None:
    g.metrics_started = time.perf_counter()


def _count_request(response: Response) -> Response:
    method = request.method if request.method in METHODS else UNKNOWN
    route = UNMATCHED if request.url_rule is None else request.url_rule.rule
    requests.labels(method, route, response.status_code).inc()
    request_seconds.labels(method, route).observe(time.perf_counter() - g.get("metrics_started", time.perf_counter()))
    return response


def _watch_pool(engine: Engine) -> None:
    for name, gauge, change in (
        ("connect", connections_open, 1),
        ("close", connections_open, -1),
        ("checkout", connections_used, 1),
        ("checkin", connections_used, -1),
    ):
        event.listen(engine, name, _changer(gauge, change))


def _changer(gauge: Gauge, change: int) -> Callable[..., None]:
    def listener(*_: object) -> None:
        gauge.inc(change)

    return listener


class _Measured(Collector):
    """Metrics that are measured when somebody asks for them."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def render(measured: Iterable[Metric]) -> bytes:
    """The metrics of all workers, and those `measured` just now, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Measured(measured))
    directory = shared_directory()
    if directory is not None:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(_Measured(own.collect()))
    with nullcontext() if directory is None else numbers.reading(directory):
        return generate_latest(registry)


def render_kept(directory: Path) -> bytes:
    """The metrics that the workers of a server keep in its directory, in Prometheus' text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]
    with numbers.reading(directory):
        return generate_latest(registry)


def shared_directory() -> Path | None:
    """The directory of all workers' numbers; None: there is one process."""
    return Path(os.environ[SHARED]) if SHARED in os.environ else None
