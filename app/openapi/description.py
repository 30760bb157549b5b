"""What a view takes and answers, said at the view with `@described(…)`, for the OpenAPI document alone.

Nothing of it runs when a request is served. `app.openapi.document` reads it, and tests compare it with the answers.
Every route may use this module, because it imports nothing of ours outside this package; plugins' routes import it from
`app.web`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from app.openapi.error_codes import ErrorCode

if TYPE_CHECKING:
    from marshmallow import Schema

View = TypeVar("View", bound=Callable[..., Any])

#: A JSON Schema, a marshmallow schema, or a function that makes a JSON Schema once all plugins are there.
Shape: TypeAlias = "Mapping[str, Any] | Schema | type[Schema] | Callable[[], Mapping[str, Any]]"


@dataclass(frozen=True, kw_only=True)
class Description:
    """What one view takes and answers. The errors that every route has need not be named: see `error_codes`."""

    #: What stands under `data` in the usual answer: `app.web.answer` puts the rest around it.
    data: Shape | None = None
    #: The whole JSON body, where the answer is not the usual one.
    answer: Shape | None = None
    #: The status of the answer.
    status: int = 200
    #: Headers of the answer: name -> JSON Schema.
    answer_headers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Complete bodies of the answer to show, by name.
    answer_examples: Mapping[str, Any] = field(default_factory=dict)
    #: Further answers that are no errors: status -> OpenAPI response.
    answers: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    #: The JSON body. `RestBlueprint.body` states it for its views.
    body: Shape | None = None
    #: Complete bodies to show, by name; or a function that makes them once all plugins are there.
    examples: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = field(default_factory=dict)
    #: The parts of a multipart body.
    form: Mapping[str, Any] | None = None
    #: The parameters of the query: name -> JSON Schema, or a marshmallow schema. `RestBlueprint.query` states it.
    query: Mapping[str, Mapping[str, Any]] | Schema | type[Schema] = field(default_factory=dict)
    #: The arguments in the address, where their converters do not say enough: name -> JSON Schema.
    path: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: The request headers that it reads: name -> JSON Schema.
    headers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: The errors of its own: codes of `app.openapi.error_codes`, or a plugin's.
    errors: tuple[str | ErrorCode, ...] = ()
    #: The token that it takes, if that is not the access token: a name in `app.openapi.document.SCHEMES`.
    security: str | None = None


def described(**parts: Any) -> Callable[[View], View]:
    """Say what the view takes and answers; the parts are those of `Description`.

    Parts add up: a decorator further up replaces the parts that it names, and leaves the others.
    """
    Description(**parts)  # so that a misspelt part fails where it is written

    def describe(view: View) -> View:
        view.description = replace(description_of(view), **parts)  # type: ignore[attr-defined]
        return view

    return describe


def description_of(view: Callable[..., Any]) -> Description:
    """The description of a view; an empty one if nothing is said about it."""
    description: Description = getattr(view, "description", Description())
    return description
