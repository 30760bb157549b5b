"""One batch through its stages: prepare, load and lock, recall, judge each operation, write, answer.

The batch runs in one transaction without savepoints. If anything unexpected is raised, everything is rolled back and
the same batch runs again with a savepoint around each operation, so that only the guilty one fails.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from time import perf_counter
from typing import Any

from app.config import current_settings
from app.core.database.write import AnyWrite
from app.core.host.watch import BUGS, HandlerTimeout, watched
from app.core.ledger.record import DEVICE_DOOR, RESCUE_DOOR
from app.core.ledger.unit import unit_of_work
from app.core.sync.answers import Answer, batch_answer
from app.core.sync.attempt import Attempt, Batch
from app.core.sync.isolation import judge_apart, judge_together, show
from app.core.sync.loading import load
from app.core.sync.prepare import prepare, prepare_again
from app.core.sync.set_aside import set_aside
from app.errors import RequestError
from app.http import metrics
from app.http.logs import log_security_event

logger = logging.getLogger(__name__)


def process_batch(batch: Batch) -> dict[str, Any]:
    """Apply a batch and return its answer. Raises `RequestError` where nothing was recorded."""
    started = perf_counter()
    with watched(current_settings().handler_seconds, batch.origin.user_id) as batch.watch:
        batch.items = prepare(batch.items, batch.registry, batch.watch)
        attempt = _apply(batch)
        metrics.count_batch(_tally(attempt), perf_counter() - started)
        _log_forbidden(attempt)
        _call_after_commit(attempt)
    return batch_answer(attempt.answers, attempt.recorder.now, attempt.recorder.generation)


def _apply(batch: Batch) -> Attempt:
    """The attempt that came through."""
    try:
        return unit_of_work(partial(_attempt, batch, judge_together))
    except RequestError:
        raise
    except BUGS:
        logger.warning("batch repeated with a savepoint around each operation", exc_info=True)
    while True:
        metrics.second_passes.inc()
        batch.items = prepare_again(batch.items, batch.registry, batch.watch)
        try:
            return unit_of_work(partial(_attempt, batch, judge_apart))
        except HandlerTimeout:
            # It may have been interrupted anywhere: what the attempt had in memory is forgotten with it.
            logger.warning("batch repeated without an operation that does not end")


def _attempt(batch: Batch, judge_all: Callable[[Attempt], list[Answer]], unit_id: str) -> Attempt:
    """All stages inside the transaction; the caller commits."""
    attempt = Attempt(batch, unit_id)
    load(attempt)
    attempt.answers = judge_all(attempt)
    attempt.write(_besides(attempt))
    show(attempt, zip(batch.items, attempt.answers, strict=True))
    return attempt


def _besides(attempt: Attempt) -> Iterable[AnyWrite]:
    """The writes that go along: of a device's batch, the items that were not applied."""
    door = attempt.recorder.origin.door
    if door == DEVICE_DOOR:
        return set_aside(attempt)
    besides = () if attempt.batch.besides is None else attempt.batch.besides(attempt)
    return chain(set_aside(attempt), besides) if door == RESCUE_DOOR else besides


def _log_forbidden(attempt: Attempt) -> None:
    """One line for a batch: a device that has lost its rights sends hundreds of items."""
    count = sum(answer.entry.get("code") == "forbidden" for answer in attempt.answers)
    if count:
        log_security_event("items forbidden", items=count)


def _tally(attempt: Attempt) -> metrics.Tally:
    """The numbers of outcomes and of calls, for the metrics."""
    for item, answer in zip(attempt.batch.items, attempt.answers, strict=True):
        group = "replayed" if "replayed" in answer.entry else answer.group
        type_ = metrics.UNKNOWN if item.handler is None else item.handler.type
        attempt.tally.add_outcome(type_, group, is_failure=answer.entry.get("code") == "handler_failed")
    return attempt.tally


def _call_after_commit(attempt: Attempt) -> None:
    """Make the calls that handlers asked for; a failure there is no failure of the operation."""
    for call in attempt.calls:
        try:
            with attempt.batch.watch(None):
                call()
        except BUGS:
            logger.exception("after_commit failed")
