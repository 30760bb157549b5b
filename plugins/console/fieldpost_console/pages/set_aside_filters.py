"""The filters of *Set aside*, as they stand in an address; for the list and for all that acts on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from flask import request

from app.administration.set_aside import STATES, Filters
from app.errors import InvalidError
from app.pages import gettext
from fieldpost_console.pages.forms import read_number

OUTCOMES = ("conflict", "refused")

#: The names of the filters in an address.
NAMES = ("outcome", "code", "type", "user_id", "inspection_id", "state")


def given_filters() -> dict[str, str]:
    """The filters as the address has them, without the empty ones."""
    return {name: text for name in NAMES if (text := argument(name))}


def filters_of(given: Mapping[str, str]) -> Filters:
    """The filters of an address. One that means nothing does not count."""
    state = given.get("state", "open")
    return Filters(
        outcome=given["outcome"] if given.get("outcome") in OUTCOMES else None,
        code=given.get("code"),
        type=given.get("type"),
        user_id=read_number(given.get("user_id", "")),
        inspection_id=read_number(given.get("inspection_id", "")),
        state=None if state == "all" else state if state in STATES else "open",
    )


def require_filters(others: Collection[str] = ()) -> Filters:
    """The filters of the address, which may have `others` beside them. Raises `InvalidError`: without a filter that
    means nothing, more items would match than were wanted.
    """
    given = {name: text for name, text in request.args.items() if text and name not in others}
    wrong = [name for name, text in given.items() if not _means_something(name, text)]
    if wrong:
        raise InvalidError(gettext("These filters mean nothing: %(names)s", names=", ".join(wrong)))
    return filters_of(given)


def _means_something(name: str, text: str) -> bool:
    if name in ("user_id", "inspection_id"):
        return read_number(text) is not None
    choices = {"outcome": OUTCOMES, "state": (*STATES, "all")}.get(name, (text,))
    return name in NAMES and text in choices and text == argument(name)


def argument(name: str) -> str:
    """A text of the address, in as many characters as one can have; empty: it has none."""
    # PostgreSQL takes no NUL in a text.
    return request.args.get(name, "")[:255].replace("\0", "")
