"""Equality of JSON values: `true` is not 1, 1 is 1.0 (contract, section 3.1). Any module may import this."""

from __future__ import annotations

from typing import Any


def is_same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal as JSON. Python alone says `True == 1`, also deep inside (trap 29)."""
    if left is right:
        return True
    if isinstance(left, bool) or isinstance(right, bool):
        return False  # the two booleans are singletons: they would have been identical
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(is_same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(is_same, left, right))
    return bool(left == right)
