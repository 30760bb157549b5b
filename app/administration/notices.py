"""What administrators and owners are told by e-mail: late devices, and items that wait for a decision too long.

Nobody is told of the same thing twice. If a device was heard of again and is late once more, people are told again: the
upkeep has forgotten the notice by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, delete, exists, insert, or_, select

from app.administration.devices import select_devices, select_late_ids
from app.administration.set_aside.sight import decidable_of_few
from app.clock import now
from app.core.database.engine import db
from app.core.ledger.set_aside import is_open_among_many
from app.core.ledger.unit import unit_of_work
from app.models import Device, Inspection, Notice, SetAside, User

#: The subjects of notices, as `Pages.places` names them.
LATE, WAITING = "late_device", "set_aside"

#: How long an item may wait for a decision before somebody is told.
PATIENCE = timedelta(days=1)

#: The most things that one mail names; it counts the others.
MOST_NAMED = 10


class Entry(NamedTuple):
    """One thing to tell: its id, since when it is so, and the words for it."""

    subject: str
    key: str
    since: datetime
    words: str


@dataclass(frozen=True)
class News:
    """All that one user is to be told, and has not been told yet."""

    user_id: int
    email: str
    name: str
    entries: list[Entry]


class Digest(NamedTuple):
    """The mail that tells it."""

    subject: str
    text: str


def find_news() -> Iterator[News]:
    """The news of each active administrator and owner who has some. No transaction is open while you use them."""
    owns = exists().where(Inspection.owner_id == User.id)
    people = select(User.id).where(User.active, or_(User.role == "admin", owns)).order_by(User.id)
    for user_id in db.session.scalars(people).all():
        news = _news_of(user_id)
        db.session.remove()
        if news.entries:
            yield news


def digest(news: News, address: str, path_of: Callable[[str, str], str]) -> Digest:
    """The text for one user, in English, because nobody has said in which language they read.

    `address`: the public one of this server, without a slash at its end; `path_of`: the path of the page that shows a
    subject's thing with this id.
    """
    late = sum(entry.subject == LATE for entry in news.entries)
    counts = " and ".join(_counted(late, len(news.entries) - late))
    oldest = sorted(news.entries, key=lambda entry: entry.since)[:MOST_NAMED]
    named = "\n".join(f"- {entry.words}\n  {address}{path_of(entry.subject, entry.key)}" for entry in oldest)
    more = len(news.entries) - len(oldest)
    rest = f"\n\n{more} more: {address}/" if more else ""
    return Digest(
        f"Fieldpost: {counts}",
        f"Hello {_line(news.name)},\n\nnew since the last mail: {counts}.\n\n{named}{rest}\n\n"
        "You are not told of these again.\n",
    )


def remember(news: News) -> None:
    """Note that a user was told, after the mail was accepted."""
    told = [
        {"user_id": news.user_id, "subject": entry.subject, "key": entry.key, "told_at": now()}
        for entry in news.entries
    ]
    unit_of_work(lambda _unit_id: db.session.execute(insert(Notice), told))


def remove_settled() -> int:
    """Forget the notices of devices that are no longer late, and of items that wait no more; returns how many went."""
    waiting = select(SetAside.id).where(is_open_among_many())
    settled = or_(
        and_(Notice.subject == LATE, Notice.key.not_in(select_late_ids())),
        and_(Notice.subject == WAITING, Notice.key.not_in(waiting)),
    )

    def work(_unit_id: str) -> int:
        result = db.session.execute(delete(Notice).where(settled), execution_options={"synchronize_session": False})
        count: int = result.rowcount  # type: ignore[attr-defined]
        return count

    return unit_of_work(work)


def _news_of(user_id: int) -> News:
    user = db.session.get_one(User, user_id)
    return News(user_id, user.email, user.name, [*_late_devices(user), *_waiting_items(user)])


def _late_devices(user: User) -> Iterator[Entry]:
    from_devices = select_devices(user, is_late=True).where(_is_new(user, LATE, Device.__table__.c.id))
    for device, owner, _, seen, _ in db.session.execute(from_devices):
        name = device.name or device.platform or "A device"
        words = f"{_line(name)} of {_line(owner)}: not heard of since {_time(seen)}"
        yield Entry(LATE, device.id, seen, words)


def _waiting_items(user: User) -> Iterator[Entry]:
    statement = select(SetAside.id, SetAside.first_at, SetAside.type, SetAside.code).where(
        decidable_of_few(user),
        is_open_among_many(),
        SetAside.first_at < now() - PATIENCE,
        _is_new(user, WAITING, SetAside.__table__.c.id),
    )
    for key, since, type_, code in db.session.execute(statement):
        words = f"{_line(type_)}, {_line(code)}: waits for a decision since {_time(since)}"
        yield Entry(WAITING, key, since, words)


def _is_new(user: User, subject: str, key: ColumnElement[str]) -> ColumnElement[bool]:
    return ~exists().where(Notice.user_id == user.id, Notice.subject == subject, Notice.key == key)


def _counted(late: int, waiting: int) -> Iterator[str]:
    if late:
        yield "1 late device" if late == 1 else f"{late} late devices"
    if waiting:
        yield "1 item that waits for a decision" if waiting == 1 else f"{waiting} items that wait for a decision"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _line(text: str) -> str:
    """A text of somebody's on one line, so that it cannot look like lines of ours."""
    return " ".join(text.split())
