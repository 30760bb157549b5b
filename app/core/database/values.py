"""Many values as one parameter of a statement."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import BindParameter, ColumnElement, bindparam
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import TypeEngine

#: In place of the value of a parameter that is told when its statement is executed.
LATER = object()

#: A column, of a table or of a model.
ColumnLike: TypeAlias = ColumnElement[Any] | InstrumentedAttribute[Any]


class ValueSet(NamedTuple):
    """Values that are sent as one parameter: a statement has the same text for 2 and for 1000 of them.

    For a single one, which most requests have, it has a plainer text.
    """

    name: str
    is_single: bool
    #: What the parameter holds; `LATER` in statements that are kept for other values.
    value: Any = LATER

    @classmethod
    def of(cls, name: str, values: Collection[Any]) -> ValueSet:
        """For these values, which the parameter `name` will hold as `Database.parameter_of` makes it of them."""
        return cls(name, len(values) == 1)

    def parameter(self, kind: TypeEngine[Any] | None = None) -> BindParameter[Any]:
        """The parameter, in a statement."""
        if self.value is LATER:
            return bindparam(self.name, type_=kind)
        # A statement may have several.
        return bindparam(self.name, self.value, type_=kind, unique=True)
