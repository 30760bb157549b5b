"""`@described(…)` states at a view the requests it takes and the answers it gives, for the OpenAPI document alone.

Nothing of it runs when a request is served. `app.openapi.document` reads it, and tests compare it with the answers.
Every route may use this module, because it imports nothing of ours but the types of values. Plugins' routes import it
from `app.web`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from flask.typing import RouteCallable

from app.core.values import JsonObject
from app.openapi.error_codes import ErrorCode
from app.openapi.shapes import JsonSchema

if TYPE_CHECKING:
    from marshmallow import Schema

View = TypeVar("View", bound=RouteCallable)

#: A JSON Schema, a marshmallow schema, or a function that makes a JSON Schema once all plugins are there.
Shape: TypeAlias = "JsonSchema | Schema | type[Schema] | Callable[[], JsonSchema]"

#: Complete bodies to show, by name.
Examples: TypeAlias = "Mapping[str, JsonObject]"


@dataclass(frozen=True, kw_only=True)
class Description:
    """The requests of one view, and its answers. Errors that every route has need not be named: see `error_codes`."""

    #: The part under `data` of the usual answer: `app.web.answer` puts the rest around it.
    data: Shape | None = None
    #: The whole JSON body, where the answer is not the usual one.
    answer: Shape | None = None
    #: The status of the answer.
    status: int = 200
    #: Headers of the answer: name -> JSON Schema.
    answer_headers: Mapping[str, JsonSchema] = field(default_factory=dict)
    #: Complete bodies of the answer to show, by name.
    answer_examples: Examples = field(default_factory=dict)
    #: Further answers that are no errors: status -> OpenAPI response.
    answers: Mapping[int, JsonObject] = field(default_factory=dict)
    #: The JSON body. `RestBlueprint.body` states it for its views.
    body: Shape | None = None
    #: Complete bodies to show, by name; or a function that makes them once all plugins are there.
    examples: Examples | Callable[[], Examples] = field(default_factory=dict)
    #: The parts of a multipart body.
    form: JsonSchema | None = None
    #: The parameters of the query: name -> JSON Schema, or a marshmallow schema. `RestBlueprint.query` states it.
    query: Mapping[str, JsonSchema] | Schema | type[Schema] = field(default_factory=dict)
    #: The arguments in the address, where their converters do not say enough: name -> JSON Schema.
    path: Mapping[str, JsonSchema] = field(default_factory=dict)
    #: The request headers that it reads: name -> JSON Schema.
    headers: Mapping[str, JsonSchema] = field(default_factory=dict)
    #: The errors of its own: codes of `app.openapi.error_codes`, or a plugin's.
    errors: tuple[str | ErrorCode, ...] = ()
    #: The token that it takes, if that is not the access token: a name in `app.openapi.document.SCHEMES`.
    security: str | None = None


def described(**parts: Any) -> Callable[[View], View]:
    """Describe the view's requests and answers; the parts are those of `Description`.

    Parts add up: a decorator further up replaces the parts that it names, and leaves the others.
    """
    Description(**parts)  # so that a misspelt part fails where it is written

    def describe(view: View) -> View:
        view.description = replace(description_of(view), **parts)  # type: ignore[union-attr]
        return view

    return describe


def description_of(view: RouteCallable) -> Description:
    """The description of a view; an empty one if nothing is said about it."""
    description: Description = getattr(view, "description", Description())
    return description
