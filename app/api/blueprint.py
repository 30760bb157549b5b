"""What all REST blueprints share: bodies read through the gate, administrators' views, ids in addresses.

flask-smorest carries no types; here its decorators get some.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

import flask_smorest
from marshmallow import RAISE, Schema
from werkzeug.routing import IntegerConverter, Map

from app.administration import require_admin
from app.api.fields import NUMBER_FORM
from app.gate import JsonParser
from app.identifiers import MAX_INTEGER
from app.web import signed_in_user

View = TypeVar("View", bound=Callable[..., Any])


class Decorator(Protocol):
    """Gives a view back as it is typed."""

    def __call__(self, view: View, /) -> View: ...


#: No row has this id.
NO_ID = 0


class RowIdConverter(IntegerConverter):
    """A row's id in an address. What cannot be one is no row's, so that the view answers 404 as for any other.

    Werkzeug's own would refuse the match, and the answer would be 405 for all methods but GET.
    """

    regex = "[^/]+"

    def __init__(self, map: Map) -> None:
        super().__init__(map, min=1, max=MAX_INTEGER)

    def to_python(self, value: str) -> int:
        """The id, or `NO_ID`."""
        found = int(value) if NUMBER_FORM.fullmatch(value) else NO_ID
        return found if found <= MAX_INTEGER else NO_ID


class RestBlueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """A flask-smorest blueprint: what its decorators say is in the OpenAPI document."""

    ARGUMENTS_PARSER = JsonParser()

    def get(self, rule: str, **options: Any) -> Decorator:
        """Register a view that reads."""
        return cast(Decorator, super().get(rule, **options))

    def post(self, rule: str, **options: Any) -> Decorator:
        """Register a view that creates."""
        return cast(Decorator, super().post(rule, **options))

    def patch(self, rule: str, **options: Any) -> Decorator:
        """Register a view that changes."""
        return cast(Decorator, super().patch(rule, **options))

    def delete(self, rule: str, **options: Any) -> Decorator:
        """Register a view that deletes."""
        return cast(Decorator, super().delete(rule, **options))

    def body(self, schema: type[Schema]) -> Decorator:
        """Give the view the JSON body as `schema` makes it; 400 `invalid` names its faults."""
        return cast(Decorator, self.arguments(schema, error_status_code=400))

    def query(self, schema: type[Schema]) -> Decorator:
        """Give the view the query parameters as `schema` makes them; unknown ones are refused, as in a body."""
        return cast(Decorator, self.arguments(schema, location="query", unknown=RAISE, error_status_code=400))


def admins_only(view: View) -> View:
    """Refuse everybody but administrators, before the body is looked at. A unit of work asks again."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        require_admin(signed_in_user())
        return view(*args, **kwargs)

    return cast(View, guarded)
