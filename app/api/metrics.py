"""`GET /metrics`: the metrics for Prometheus, on a port of their own or with a token (contract, section 9)."""

from __future__ import annotations

import hmac
import logging
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from itertools import chain
from pathlib import Path

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy.exc import SQLAlchemyError

from app.administration.set_aside.backlog import MOST_COUNTED, Backlog, backlog
from app.attachments.room import bytes_of_site
from app.config import current_settings
from app.core.database.engine import db
from app.core.done import TASKS, done_at
from app.core.ledger.state import feed_lag_seconds
from app.errors import NotFoundError, UnauthorizedError
from app.http import metrics
from app.web import described, public

logger = logging.getLogger(__name__)

blueprint = Blueprint("metrics", __name__)


@blueprint.before_app_request
def keep_to_the_port() -> None:
    """Answer nothing else on the metrics' port, which may be open to other people than the API's."""
    if _came_by_own_port() and request.endpoint != f"{blueprint.name}.{show.__name__}":
        raise NotFoundError(message="This port answers `/metrics` alone.")


@blueprint.get("/metrics")
@public
@described(
    answers={
        200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
    errors=("not_found", "token_invalid"),
    security="metrics_token",
)
def show() -> Response:
    """The metrics of all workers of this server, in Prometheus' text format."""
    settings = current_settings()
    is_open = _came_by_own_port() if settings.metrics_port else bool(settings.metrics_token)
    if not is_open:
        raise NotFoundError()
    if settings.metrics_token and not has_metrics_token():
        raise UnauthorizedError("token_invalid", "Send `Authorization: Bearer <FIELDPOST_METRICS_TOKEN>`.")
    measured = chain(_measure_database(), _measure_node(settings.data_dir))
    return Response(metrics.render(measured), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _came_by_own_port() -> bool:
    """Whether the connection itself came by the metrics' port. Werkzeug takes the port from headers."""
    port, connection = current_settings().metrics_port, request.environ.get("gunicorn.socket")
    return bool(port) and connection is not None and connection.getsockname()[1] == port


def has_metrics_token() -> bool:
    """Whether the request brings the token of the settings. False if there is none."""
    token = current_settings().metrics_token
    sent = request.headers.get("Authorization", "").encode("utf-8", "replace")
    return bool(token) and hmac.compare_digest(sent, f"Bearer {token}".encode())


def _measure_node(data_dir: Path) -> Iterator[Metric]:
    """The release, the room beside the data, and when this node last did the tasks that nobody would miss at once."""
    release = GaugeMetricFamily("fieldpost_release", "1, with the server's release as a label", labels=["version"])
    release.add_metric([version("fieldpost")], 1)
    yield release
    done = GaugeMetricFamily(
        "fieldpost_last_done_timestamp_seconds", "When this node last did a task; absent if never", labels=["task"]
    )
    for task in TASKS:
        moment = done_at(data_dir, task)
        if moment is not None:
            done.add_metric([task], moment)
    yield done
    disk = shutil.disk_usage(data_dir)
    yield GaugeMetricFamily(
        "fieldpost_disk_free_ratio", "Free part of the disk that the data directory is on", disk.free / disk.total
    )


def _measure_database() -> Iterator[Metric]:
    """The metrics that only the database knows. If it does not answer, the others are needed all the more."""
    quota = current_settings().site_storage_bytes
    try:
        lag, waiting = feed_lag_seconds(db.session()), backlog(db.session())
        used = bytes_of_site(db.session()) if quota else 0
    except SQLAlchemyError as error:
        logger.warning("the database was not measured", exc_info=error)
        return
    finally:
        # These queries must not be counted as a connection in use.
        db.session.remove()
    yield GaugeMetricFamily("fieldpost_feed_lag_seconds", "How long the feed has been held back by an open write", lag)
    if quota:
        yield GaugeMetricFamily(
            "fieldpost_site_storage_used_ratio", "Part of FIELDPOST_SITE_STORAGE_BYTES that photos take", used / quota
        )
    yield from _backlog_metrics(waiting)


def _backlog_metrics(waiting: Backlog) -> Iterator[Metric]:
    """The items that wait for a decision, and since when the oldest does."""
    counted = GaugeMetricFamily(
        "fieldpost_set_aside_open", f"Items that wait for a decision, up to {MOST_COUNTED}", labels=["outcome"]
    )
    counted.add_metric(["conflict"], waiting.conflict)
    counted.add_metric(["refused"], waiting.refused)
    yield counted
    oldest = GaugeMetricFamily(
        "fieldpost_set_aside_oldest_timestamp_seconds", "When the oldest of them came in; absent if there is none"
    )
    if waiting.oldest_at is not None:
        oldest.add_metric([], waiting.oldest_at.timestamp())
    yield oldest
