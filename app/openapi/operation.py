"""One operation of the OpenAPI document: a view under one method, as its rule, its docstring and `@described` say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from inspect import cleandoc

from flask.typing import RouteCallable
from werkzeug.routing import (
    BaseConverter,
    FloatConverter,
    IntegerConverter,
    Rule,
    UUIDConverter,
)

from app.config import API_PREFIX
from app.core.values import JsonObject
from app.openapi.components import JSON, Components
from app.openapi.description import Description, Examples, description_of
from app.openapi.error_codes import ALWAYS, ERROR_CODES, WITH_BODY, WITH_FORM, WITH_QUERY, WITH_TOKEN, ErrorCode
from app.openapi.shapes import TEXT, UUID, JsonSchema, usual

#: Media types of an image in a multipart body.
IMAGES = "image/jpeg, image/png"


@dataclass(frozen=True)
class Route:
    """A view under one of its rule's methods."""

    rule: Rule
    method: str
    view: RouteCallable

    @property
    def is_open(self) -> bool:
        """Whether it needs no token."""
        return getattr(self.view, "is_public", False) or not self.rule.rule.startswith(API_PREFIX + "/")

    @property
    def name(self) -> str:
        """A name that no other operation has."""
        suffix = f"_{self.method.lower()}" if len(methods_of(self.rule)) > 1 else ""
        return f"{self.rule.endpoint.replace('.', '_')}{suffix}"


def methods_of(rule: Rule) -> list[str]:
    """The methods of a rule that are documented."""
    return sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})


def operation_of(route: Route, components: Components) -> JsonObject:
    """The OpenAPI operation of a route."""
    description = description_of(route.view)
    summary, _, rest = cleandoc(route.view.__doc__ or "").partition("\n")
    query = _query(description, components)
    body = _body(description, components)
    codes = _error_codes(route, description, bool(query), body)
    operation = {
        "operationId": route.name,
        "summary": summary,
        "description": rest.strip(),
        "tags": [route.rule.endpoint.rpartition(".")[0] or route.rule.endpoint],
        "parameters": [
            *_path(route.rule, description, components),
            *query,
            *_parameters("header", description.headers, components),
        ],
        "requestBody": body,
        "responses": {**_answers(description, components), **components.error_answers(codes)},
        "security": _security(route, description),
    }
    return {name: value for name, value in operation.items() if value or name == "security"}


def _path(rule: Rule, description: Description, components: Components) -> Iterator[JsonObject]:
    """The arguments in the address: as described, otherwise as their converters read them."""
    for name, converter in rule._converters.items():
        if name in rule.arguments:
            schema = description.path.get(name) or _schema_of(converter)
            yield {"in": "path", "name": name, "required": True, "schema": components.with_references(schema)}


def _schema_of(converter: BaseConverter) -> JsonSchema:
    if isinstance(converter, IntegerConverter | FloatConverter):
        bounds = {"minimum": converter.min if converter.signed else (converter.min or 0), "maximum": converter.max}
        number = "integer" if isinstance(converter, IntegerConverter) else "number"
        return {"type": number, **{name: value for name, value in bounds.items() if value is not None}}
    return UUID if isinstance(converter, UUIDConverter) else TEXT


def _query(description: Description, components: Components) -> list[JsonObject]:
    if isinstance(description.query, Mapping):
        return list(_parameters("query", description.query, components))
    return components.conversion.parameters_of(description.query)


def _parameters(place: str, schemas: Mapping[str, JsonSchema], components: Components) -> Iterator[JsonObject]:
    for name, schema in schemas.items():
        rest = {key: value for key, value in schema.items() if key != "description"}
        sentence = {"description": schema["description"]} if "description" in schema else {}
        yield {"in": place, "name": name, "required": False, "schema": components.with_references(rest), **sentence}


def _body(description: Description, components: Components) -> JsonObject | None:
    if description.form is not None:
        parts = description.form["properties"].items()
        encoding = {name: {"contentType": IMAGES} for name, part in parts if part.get("format") == "binary"}
        form = {"schema": components.with_references(description.form), "encoding": encoding}
        return {"required": True, "content": {"multipart/form-data": form}}
    if description.body is None:
        return None
    examples = description.examples() if callable(description.examples) else description.examples
    body = {"schema": components.schema_of(description.body), **_examples(examples)}
    return {"required": True, "content": {JSON: body}}


def _answers(description: Description, components: Components) -> JsonObject:
    """The answers that are no errors."""
    answers = {
        str(status): dict(components.with_references(response)) for status, response in description.answers.items()
    }
    schema = _answer_schema(description, components)
    if schema is None and any(status.startswith("2") for status in answers):
        return answers
    answer: JsonObject = {"description": HTTPStatus(description.status).phrase}
    if schema is not None:
        answer["content"] = {JSON: {"schema": schema, **_examples(description.answer_examples)}}
    if description.answer_headers:
        answer["headers"] = {name: {"schema": dict(header)} for name, header in description.answer_headers.items()}
    return {"2XX" if schema is None else str(description.status): answer, **answers}


def _answer_schema(description: Description, components: Components) -> JsonSchema | None:
    if description.data is not None:
        return components.with_references(usual(components.schema_of(description.data)))
    return None if description.answer is None else components.schema_of(description.answer)


def _examples(examples: Examples) -> JsonObject:
    return {"examples": {name: {"value": value} for name, value in examples.items()}} if examples else {}


def _error_codes(route: Route, description: Description, takes_query: bool, body: JsonObject | None) -> list[ErrorCode]:
    """All errors that the operation may answer, by status and code."""
    names: list[str | ErrorCode] = [*description.errors, *ALWAYS]
    names += () if route.is_open else WITH_TOKEN
    if body is not None:
        names += WITH_BODY if JSON in body["content"] else WITH_FORM
    names += WITH_QUERY if takes_query else ()
    names += [name for converter in route.rule._converters.values() for name in getattr(converter, "errors", ())]
    codes = dict.fromkeys(ERROR_CODES[name] if isinstance(name, str) else name for name in names)
    return sorted(codes, key=lambda code: (code.status, code.code))


def _security(route: Route, description: Description) -> list[dict[str, list[str]]]:
    if description.security is not None:
        return [{description.security: []}]
    return [] if route.is_open else [{"bearer": []}]
