"""A server for clients that other people have made, and a directory in which they run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import SECRET_KEY
from tests.support.demo import copy_demo
from tests.support.node import open_workshop
from tests.support.servers import demo_password, environment_of, running


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules of docs/clients.md and the scenarios, in a directory where Node.js finds the packages."""
    return open_workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which a scenario finds the server, its administrator and its key."""
    directory = tmp_path_factory.mktemp("server")
    environment = environment_of(directory, FIELDPOST_SECRET_KEY=SECRET_KEY)
    copy_demo(directory)
    with running(environment) as address:
        yield {
            "FIELDPOST_URL": address,
            "FIELDPOST_SECRET_KEY": SECRET_KEY,
            "FIELDPOST_ADMIN_PASSWORD": demo_password(directory, "admin@example.com"),
        }
