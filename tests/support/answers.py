"""Reading what the server answers."""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Response


def json_of(answer: Response) -> Any:
    """The JSON of an answer, which must have some."""
    assert answer.json is not None, answer.data
    return answer.json
