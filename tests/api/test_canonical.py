"""Canonical JSON is RFC 8785's, whichever library writes it."""

from __future__ import annotations

from typing import Any

import orjson
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.canonical import canonical_json, canonical_object

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=12)


@settings(max_examples=50)
@given(VALUES)
def test_it_is_what_the_standards_library_writes(value: Any) -> None:
    assert canonical_json(value) == rfc8785.dumps(value)


@settings(max_examples=50)
@given(st.dictionaries(TEXT, VALUES), VALUES)
def test_parts_that_are_known_already_stand_where_they_belong(fields: dict[str, Any], value: Any) -> None:
    whole = {**fields, "form_structure": value}
    assert canonical_object(fields, {"form_structure": canonical_json(value)}) == rfc8785.dumps(whole)


def test_keys_beyond_the_basic_plane_are_sorted_by_their_utf_16_units() -> None:
    value = {"\uff5e": 1, "\U0001f600": 2, "a": 3}
    assert canonical_json(value) == rfc8785.dumps(value) != orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
