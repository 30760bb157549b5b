"""Shared parts of the REST blueprints: views for administrators, ids in addresses."""

from __future__ import annotations

from functools import wraps
from typing import cast

from werkzeug.routing import IntegerConverter, Map

from app.accounts.administrators import require_admin
from app.api.fields import NUMBER_FORM
from app.core.values import MAX_INTEGER
from app.openapi.description import View
from app.web import signed_in_user

#: No row has this id.
NO_ID = 0


class RowIdConverter(IntegerConverter):
    """A row's id in an address. Anything else becomes `NO_ID`, so that the view answers 404.

    Werkzeug's own converter would refuse the match, and the answer would be 405 for all methods but GET.
    """

    regex = "[^/]+"

    def __init__(self, map: Map) -> None:
        super().__init__(map, min=1, max=MAX_INTEGER)

    def to_python(self, value: str) -> int:
        """The id, or `NO_ID`."""
        number = int(value) if NUMBER_FORM.fullmatch(value) else NO_ID
        return number if number <= MAX_INTEGER else NO_ID


def admins_only(view: View) -> View:
    """Refuse everybody but administrators, before the body is read. The unit of work checks again."""

    @wraps(view)
    def guarded(*args: object, **kwargs: object) -> object:
        require_admin(signed_in_user())
        return view(*args, **kwargs)

    return cast(View, guarded)
