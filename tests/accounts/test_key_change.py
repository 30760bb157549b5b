"""The key is changed in two rounds over the nodes, and nobody is signed out on the way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from app import create_app
from app.core.database.engine import close_connections
from app.models import User
from tests.conftest import PASSWORD, SettableClock
from tests.support.answers import json_of

OLD, NEW = "the key of before, long enough to be one", "the key of afterwards, long enough as well"

#: The keys of a node: the present one, and the one that is accepted besides.
BEFORE, FIRST, SECOND, AFTER = (OLD, ""), (OLD, NEW), (NEW, OLD), (NEW, "")


@pytest.fixture
def nodes(environment: dict[str, str], clock: SettableClock, tech: User) -> Iterator[dict[tuple[str, str], Flask]]:
    made = {
        (key, previous): create_app(
            {**environment, "FIELDPOST_SECRET_KEY": key, "FIELDPOST_SECRET_KEY_PREVIOUS": previous}, clock
        )
        for key, previous in (BEFORE, FIRST, SECOND, AFTER)
    }
    yield made
    for app in made.values():
        close_connections(app)


def tokens_of(app: Flask, user: User) -> dict[str, str]:
    answer = app.test_client().post("/api/v1/auth/login", json={"email": user.email, "password": PASSWORD})
    assert answer.status_code == 200
    return dict(json_of(answer))


def accepts(app: Flask, tokens: dict[str, str]) -> bool:
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return app.test_client().get("/api/v1/auth/me", headers=headers).status_code == 200


@pytest.mark.database("sqlite")
def test_in_each_round_every_node_takes_the_tokens_of_every_other(
    nodes: dict[tuple[str, str], Flask], tech: User
) -> None:
    for one, other in ((BEFORE, FIRST), (FIRST, SECOND), (SECOND, AFTER)):
        if other != AFTER:
            assert accepts(nodes[one], tokens_of(nodes[other], tech))
        assert accepts(nodes[other], tokens_of(nodes[one], tech))
    assert not accepts(nodes[BEFORE], tokens_of(nodes[SECOND], tech)), "therefore two rounds"
