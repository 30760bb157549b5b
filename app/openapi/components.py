"""The shared parts of an OpenAPI document: named schemas, and the answers of errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from marshmallow import Schema

from app.core.values import JsonObject, Values
from app.openapi.conversion import Conversion
from app.openapi.description import Shape
from app.openapi.error_codes import ErrorCode
from app.openapi.shapes import ERROR, TEXT, JsonSchema, Named, reference_to

JSON = "application/json"

#: The header that every answer with this status has.
HEADERS_OF_ERRORS = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}


class Components:
    """Collects the shared parts while operations are described."""

    def __init__(self) -> None:
        self._schemas: dict[str, JsonSchema] = {}
        self.conversion = Conversion(taken=self._schemas)
        self._responses: dict[str, JsonSchema] = {}

    def write(self) -> JsonObject:
        """The parts collected so far, as a document's `components`."""
        return {"schemas": {**self.conversion.components, **self._schemas}, "responses": self._responses}

    def schema_of(self, shape: Shape) -> JsonSchema:
        """The JSON Schema of a shape that a view is described with."""
        if isinstance(shape, Schema | type):
            return self.conversion.reference_to(shape)
        return self.with_references(shape if isinstance(shape, Mapping) else shape())

    def with_references(self, schema: Values) -> JsonSchema:
        """A copy of a schema in which named parts are references; the parts become components."""
        copy = {key: self._with_references(part) for key, part in schema.items()}
        return self._component(schema, copy) if isinstance(schema, Named) else copy

    def _with_references(self, value: object) -> object:
        """The same for any part of a schema."""
        if isinstance(value, Mapping):
            return self.with_references(value)
        return [self._with_references(part) for part in value] if isinstance(value, list | tuple) else value

    def error_answers(self, codes: Iterable[ErrorCode]) -> JsonObject:
        """One answer for each status, with an example of each code. Equal answers become one component."""
        by_status: dict[int, list[ErrorCode]] = {}
        for code in codes:
            by_status.setdefault(code.status, []).append(code)
        answers = {}
        for status, group in by_status.items():
            name = "_".join([str(status), *(code.code for code in group)])
            self._responses.setdefault(name, self._error_answer(status, group))
            answers[str(status)] = {"$ref": f"#/components/responses/{name}"}
        return answers

    def _component(self, named: Named, copy: JsonSchema) -> JsonSchema:
        self._schemas.update(named.companions)
        # A plugin may have chosen a name that is taken. Its schema then stands where it is used.
        if named.name in self.conversion.components or self._schemas.setdefault(named.name, copy) != copy:
            return copy
        return {"$ref": reference_to(named.name)}

    def _error_answer(self, status: int, group: Iterable[ErrorCode]) -> JsonObject:
        examples = {code.code: {"value": _example(code)} for code in group}
        answer: JsonObject = {
            "description": "; ".join(f"`{code.code}`: {code.meaning}" for code in group) + ".",
            "content": {JSON: {"schema": self.with_references(ERROR), "examples": examples}},
        }
        if status in HEADERS_OF_ERRORS:
            answer["headers"] = {HEADERS_OF_ERRORS[status]: {"schema": TEXT}}
        return answer


def _example(code: ErrorCode) -> JsonObject:
    return {
        "success": False,
        "error": code.error,
        "code": code.code,
        "message": code.meaning.capitalize() + ".",
        "request_id": "2f1c0a6b9a3d4e0f8f6d1c2b3a495867",
    }
