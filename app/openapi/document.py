"""The OpenAPI document, put together from what there is: rules, views, `@described`, and what flask-smorest noted.

Nothing is listed by hand: every route of the application is in it, plugins' included, with the sign-in and the errors
that hold for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from http import HTTPStatus
from inspect import cleandoc, isclass
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from flask_smorest.spec.plugins import FlaskPlugin
from marshmallow import Schema
from werkzeug.routing import Rule

from app.config import API_PREFIX
from app.openapi.description import Description, description_of
from app.openapi.faults import ALWAYS, FAULTS, WITH_BODY, WITH_FORM, WITH_QUERY, WITH_TOKEN, Fault
from app.openapi.introduction import INTRODUCTION
from app.openapi.shapes import ERROR, TEXT, JsonSchema, Named, reference_to, usual

JSON = "application/json"

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The access token."},
    "refresh_token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The refresh token."},
    "metrics_token": {"type": "http", "scheme": "bearer", "description": "`FIELDPOST_METRICS_TOKEN`."},
}

#: What whoever writes an app reads first.
FIRST_TAGS = ("auth", "sync")

#: Headers of every answer with one of these statuses.
FAULT_HEADERS = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}


def make_document(app: Flask, noted: APISpec) -> dict[str, Any]:
    """The document of an application; `noted`: what flask-smorest knows. Needs an application context."""
    return _Writer(app, noted).write()


class _Writer:
    """Collects components while the operations are described."""

    def __init__(self, app: Flask, noted: APISpec) -> None:
        self.app = app
        # Views' marshmallow schemas become components of flask-smorest's own document.
        self.noted = noted
        self.marshmallow = next(each for each in noted.plugins if isinstance(each, MarshmallowPlugin))
        self.noted_paths = noted.to_dict()["paths"]
        self.schemas: dict[str, JsonSchema] = {}
        self.responses: dict[str, JsonSchema] = {}

    def write(self) -> dict[str, Any]:
        rules = sorted(self.app.url_map.iter_rules(), key=lambda each: each.rule)
        described = [(FlaskPlugin.flaskpath2openapi(rule.rule), dict(self._operations(rule))) for rule in rules]
        paths: dict[str, Any] = {}
        for address, operations in described:
            paths.setdefault(address, {}).update(operations)
        found = deepcopy(self.noted.to_dict())
        components = found.pop("components", {})
        components["schemas"] = components.get("schemas", {}) | self.schemas
        components["responses"] = self.responses
        components["schemas"].pop("PaginationMetadata", None)  # flask-smorest's, which nothing refers to
        components["securitySchemes"] = SCHEMES
        return {
            **found,
            "info": {**found["info"], "description": INTRODUCTION, "license": {"name": "Apache-2.0"}},
            "servers": [{"url": "/"}],
            "tags": [*({"name": name} for name in FIRST_TAGS), *found.get("tags", ())],
            "paths": paths,
            "components": components,
        }

    def _operations(self, rule: Rule) -> Iterator[tuple[str, dict[str, Any]]]:
        view = self.app.view_functions[rule.endpoint]
        address = FlaskPlugin.flaskpath2openapi(rule.rule)
        noted = self.noted_paths.get(address, {})
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method.lower(), self._operation(rule, view, method, noted)

    def _operation(self, rule: Rule, view: Callable[..., Any], method: str, noted: Mapping[str, Any]) -> dict[str, Any]:
        """One operation: what is noted and described of it, and what holds for all."""
        about, known = description_of(view), _known(noted.get(method.lower(), {}))
        summary, _, rest = cleandoc(view.__doc__ or "").partition("\n")
        query = [*self._parameters("query", about.query), *_of_query(known)]
        body = self._body(about) or known.get("requestBody")
        several = len((rule.methods or set()) - {"HEAD", "OPTIONS"}) > 1
        found = {
            "operationId": rule.endpoint.replace(".", "_") + (f"_{method.lower()}" if several else ""),
            "summary": summary,
            "description": rest.strip(),
            "tags": known.get("tags") or [rule.endpoint.rpartition(".")[0] or rule.endpoint],
            "parameters": [*self._path(rule, about, noted), *query, *self._parameters("header", about.headers)],
            "requestBody": body,
            "responses": {**known.get("responses", {}), **self._answers(about, known)},
            "security": _security(rule, view, about),
        }
        codes = self._codes(rule, view, about, bool(query), body)
        found["responses"] |= self._faults(codes)
        return {name: value for name, value in found.items() if value or name == "security"}

    def _path(self, rule: Rule, about: Description, noted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The arguments in the address, as described, else as their converters say."""
        known = {each["name"]: each["schema"] for each in noted.get("parameters", ()) if each["in"] == "path"}
        for name in [each for each in rule._converters if each in rule.arguments]:
            schema = about.path.get(name) or known.get(name) or TEXT
            yield {"in": "path", "name": name, "required": True, "schema": self.placed(schema)}

    def _parameters(self, place: str, schemas: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        for name, schema in schemas.items():
            rest = {key: value for key, value in schema.items() if key != "description"}
            described = {"description": schema["description"]} if "description" in schema else {}
            yield {"in": place, "name": name, "required": False, "schema": self.placed(rest), **described}

    def _body(self, about: Description) -> dict[str, Any] | None:
        if about.form is not None:
            kinds = {name: {"contentType": "image/jpeg, image/png"} for name in _files(about.form)}
            return {
                "required": True,
                "content": {"multipart/form-data": {"schema": self.placed(about.form), "encoding": kinds}},
            }
        if about.body is None:
            return None
        examples = about.examples() if callable(about.examples) else about.examples
        shown = {"examples": {name: {"value": value} for name, value in examples.items()}} if examples else {}
        return {"required": True, "content": {JSON: {"schema": self.shaped(about.body), **shown}}}

    def _answers(self, about: Description, known: Mapping[str, Any]) -> dict[str, Any]:
        """The answers that are no errors."""
        shape = about.answer
        if about.data is not None:
            shape = usual(self.shaped(about.data))
        answers = {str(status): dict(self.placed(each)) for status, each in about.answers.items()}
        is_told = any(str(each).startswith("2") for each in [*answers, *known.get("responses", {})])
        if shape is None and is_told:
            return answers
        answer: dict[str, Any] = {"description": HTTPStatus(about.status).phrase}
        if shape is not None:
            shown = {name: {"value": value} for name, value in about.answer_examples.items()}
            answer["content"] = {JSON: {"schema": self.shaped(shape), **({"examples": shown} if shown else {})}}
        if about.answer_headers:
            answer["headers"] = {name: {"schema": dict(each)} for name, each in about.answer_headers.items()}
        return {str(about.status) if shape is not None else "2XX": answer, **answers}

    def _codes(
        self,
        rule: Rule,
        view: Callable[..., Any],
        about: Description,
        takes_query: bool,
        body: Mapping[str, Any] | None,
    ) -> list[Fault]:
        """All errors that an operation may answer."""
        codes: list[str | Fault] = [*about.faults, *ALWAYS]
        needs_token = rule.rule.startswith(API_PREFIX + "/") and not getattr(view, "is_public", False)
        codes += WITH_TOKEN if needs_token else ()
        if body is not None:
            codes += WITH_BODY if JSON in body["content"] else WITH_FORM
        codes += WITH_QUERY if takes_query else ()
        found = dict.fromkeys(FAULTS[each] if isinstance(each, str) else each for each in codes)
        return sorted(found, key=lambda each: (each.status, each.code))

    def _faults(self, faults: Iterable[Fault]) -> dict[str, Any]:
        """One answer a status, with an example of each code; the same ones stand once among the components."""
        by_status: dict[int, list[Fault]] = {}
        for each in faults:
            by_status.setdefault(each.status, []).append(each)
        found = {}
        for status, group in by_status.items():
            name = "_".join([str(status), *(each.code for each in group)])
            self.responses.setdefault(name, self._fault(status, group))
            found[str(status)] = {"$ref": f"#/components/responses/{name}"}
        return found

    def _fault(self, status: int, group: Iterable[Fault]) -> dict[str, Any]:
        examples = {each.code: {"value": _example(each)} for each in group}
        found: dict[str, Any] = {
            "description": "; ".join(f"`{each.code}`: {each.meaning}" for each in group) + ".",
            "content": {JSON: {"schema": self.placed(ERROR), "examples": examples}},
        }
        if status in FAULT_HEADERS:
            found["headers"] = {FAULT_HEADERS[status]: {"schema": TEXT}}
        return found

    def shaped(self, shape: Any) -> Any:
        """The JSON Schema of whatever a view is described with."""
        if isinstance(shape, Schema) or (isclass(shape) and issubclass(shape, Schema)):
            return self.marshmallow.resolver.resolve_schema_dict(shape)  # type: ignore[union-attr]
        return self.placed(shape() if callable(shape) else shape)

    def placed(self, value: Any) -> Any:
        """A copy of a schema with references for its named parts, which become components."""
        if isinstance(value, Mapping):
            copy = {key: self.placed(each) for key, each in value.items()}
            return self._component(value, copy) if isinstance(value, Named) else copy
        return [self.placed(each) for each in value] if isinstance(value, list | tuple) else value

    def _component(self, named: Named, copy: JsonSchema) -> JsonSchema:
        self.schemas.update(named.companions)
        # A plugin may have chosen a name that is taken: its schema then stands where it is used.
        if self.schemas.setdefault(named.name, copy) != copy:
            return copy
        return {"$ref": reference_to(named.name)}


def _known(noted: Mapping[str, Any]) -> dict[str, Any]:
    """What flask-smorest noted of an operation, without its own idea of errors."""
    found = deepcopy(dict(noted))
    found["responses"] = {
        str(status): each for status, each in found.get("responses", {}).items() if "$ref" not in each
    }
    return found


def _of_query(known: Mapping[str, Any]) -> list[Any]:
    return [each for each in known.get("parameters", ()) if each["in"] != "path"]


def _files(form: Mapping[str, Any]) -> list[str]:
    return [name for name, each in form["properties"].items() if each.get("format") == "binary"]


def _security(rule: Rule, view: Callable[..., Any], about: Description) -> list[dict[str, list[str]]]:
    if about.security is not None:
        return [{about.security: []}]
    is_open = getattr(view, "is_public", False) or not rule.rule.startswith(API_PREFIX + "/")
    return [] if is_open else [{"bearer": []}]


def _example(fault: Fault) -> dict[str, Any]:
    return {
        "success": False,
        "error": fault.error,
        "code": fault.code,
        "message": fault.meaning.capitalize() + ".",
        "request_id": "2f1c0a6b9a3d4e0f8f6d1c2b3a495867",
    }
