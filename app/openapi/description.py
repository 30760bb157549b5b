"""What a view takes and answers, said at the view: `@described(…)`, for the OpenAPI document alone.

Nothing of it runs when a request is served. `app.openapi.document` reads it, tests compare it with what is answered.
Imports nothing of ours outside this package, so that every route may use it; plugins' routes get it from `app.web`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from app.openapi.faults import Fault

if TYPE_CHECKING:
    from marshmallow import Schema

View = TypeVar("View", bound=Callable[..., Any])

#: A JSON Schema, a marshmallow schema, or a function that makes a JSON Schema once all plugins are there.
Shape: TypeAlias = "Mapping[str, Any] | Schema | type[Schema] | Callable[[], Mapping[str, Any]]"


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is said of one view. Errors that every route has need not be named: see `app.openapi.faults`."""

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
    #: The JSON body, where the view reads it itself.
    body: Shape | None = None
    #: Complete bodies to show, by name; or a function that makes them once all plugins are there.
    examples: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = field(default_factory=dict)
    #: The parts of a multipart body.
    form: Mapping[str, Any] | None = None
    #: Parameters of the query, where the view reads them itself: name -> JSON Schema.
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: What the arguments in the address are: name -> JSON Schema.
    path: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Request headers that it reads: name -> JSON Schema.
    headers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: The errors of its own: codes of `app.openapi.faults`, or a plugin's.
    faults: tuple[str | Fault, ...] = ()
    #: Which token it takes, if not the access token.
    security: str | None = None


def described(**parts: Any) -> Callable[[View], View]:
    """Say what the view takes and answers; the parts are those of `Description`."""
    description = Description(**parts)

    def describe(view: View) -> View:
        view.description = description  # type: ignore[attr-defined]
        return view

    return describe


def description_of(view: Callable[..., Any]) -> Description:
    """What is said of a view, or nothing."""
    found: Description = getattr(view, "description", Description())
    return found
