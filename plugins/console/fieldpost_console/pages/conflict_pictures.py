"""The photos and signatures of a row in conflict. All are kept: each stands on the side from which it came."""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple

from app.administration import Arrival, ShownValue, arrivals_of
from app.models import db
from app.plugin_api import Label
from fieldpost_console.pages.typed import PICTURES
from fieldpost_console.pages.undecided import Subject

#: The sides, in the order in which the page shows them.
BEFORE, DEVICE, SERVER = "before", "device", "server"

#: So many of the latest pictures are shown; the page on the inspection has them all.
MOST = 48


class Picture(NamedTuple):
    """A picture with its field."""

    id: str
    label: Label
    arrival: Arrival


class Pictures(NamedTuple):
    """The pictures of each side that has any, in order, and whether there are more."""

    sides: dict[str, list[Picture]]
    has_more: bool


def pictures_of(subject: Subject) -> Pictures:
    """The latest pictures of the row, by the side from which they came; one statement."""
    labels = {key: value.label for value in (subject.shown.values if subject.shown else ()) for key in _ids_of(value)}
    arrivals = sorted(arrivals_of(db.session(), labels).values(), key=_time) if labels else []
    sides: dict[str, list[Picture]] = {BEFORE: [], DEVICE: [], SERVER: []}
    for arrival in arrivals[-MOST:]:
        picture = Picture(arrival.attachment_id, labels[arrival.attachment_id], arrival)
        sides[_side_of(arrival, subject.item)].append(picture)
    return Pictures({side: pictures for side, pictures in sides.items() if pictures}, len(arrivals) > MOST)


def _ids_of(value: ShownValue) -> list[str]:
    """The ids of a field's pictures; none of any other field."""
    if value.label.kind not in PICTURES or value.is_missing:
        return []
    ids = value.value if isinstance(value.value, list) else [value.value]
    return [key for key in ids if isinstance(key, str)]


def _time(arrival: Arrival) -> tuple[dt.datetime, str]:
    return arrival.at, arrival.attachment_id


def _side_of(arrival: Arrival, item: dict[str, Any]) -> str:
    """The side of a picture: it came before the version that the device started from, from that device, or not."""
    version = (item["seen"] or {}).get("local_version")
    if version is not None and arrival.at <= _moment(version):
        return BEFORE
    is_senders = arrival.user_id == (item["user"] or {}).get("id")
    return DEVICE if is_senders and arrival.device_id in (None, item["device_id"]) else SERVER


def _moment(wire: str) -> dt.datetime:
    """A version as the device has sent it; without an offset it is UTC."""
    moment = dt.datetime.fromisoformat(wire.upper())
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
