"""Shared parts of the REST blueprints: views for administrators, ids in addresses."""

from __future__ import annotations

from functools import wraps
from typing import Any, cast

from flask import request
from werkzeug.routing import IntegerConverter, Map, UnicodeConverter

from app.accounts.administrators import require_admin
from app.core.values import MAX_INTEGER, read_id, read_key
from app.openapi.description import View
from app.web import signed_in_user, wrong_id


class NoId(int):
    """Stands for an id in an address that is none, until `refuse_wrong_ids` answers it."""


class RowIdConverter(IntegerConverter):
    """A row's id in an address.

    Werkzeug's own converter would refuse the match of any other text, and the answer would be 404 or 405.
    """

    regex = "[^/]+"
    errors = ("invalid",)

    def __init__(self, map: Map) -> None:
        super().__init__(map, min=1, max=MAX_INTEGER)

    def to_python(self, value: str) -> int:
        """The id, or `NoId`."""
        try:
            return read_id(value)
        except ValueError:
            return NoId()


class RowKeyConverter(UnicodeConverter):
    """The id or client_id of a row in an address."""

    errors = ("invalid",)

    def to_python(self, value: str) -> Any:
        """An id, a client_id in lower case, or `NoId`."""
        try:
            return read_key(value)
        except ValueError:
            return NoId()


def refuse_wrong_ids() -> None:
    """Raise `InvalidError` for an address with an id that is none."""
    wrong = [name for name, value in (request.view_args or {}).items() if isinstance(value, NoId)]
    if wrong:
        raise wrong_id(*wrong)


def admins_only(view: View) -> View:
    """Refuse everybody but administrators, before the body is read. The unit of work checks again."""

    @wraps(view)
    def guarded(*args: object, **kwargs: object) -> object:
        require_admin(signed_in_user())
        return view(*args, **kwargs)

    return cast(View, guarded)
