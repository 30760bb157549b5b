"""The optional extra `plugins/resumable_uploads`, installed as anybody's plugin: its own tests, and real clients of tus
on a line that breaks."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.outsider.conftest import HERE, Environment, build
from tests.outsider.test_installed import ADMIN, Client, Site
from tests.support.breaking import BreakingLine
from tests.support.databases import SECRET_KEY
from tests.support.demo import add_demo
from tests.support.forks import Program, run
from tests.support.node import NODE, installed_packages, open_workshop, run_scenario
from tests.support.servers import ROOT, demo_password, free_port

PLUGIN = ROOT / "plugins" / "resumable_uploads"
CLIENTS = HERE / "tus_clients"

SIZE = 10 * 1024 * 1024
MEGABYTE = 1024 * 1024

#: Of demo data: the technician's form fill.
METADATA = {"form_fill_id": "1", "field_name": "Riser_Photo", "filename": "riser.jpg"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = shutil.copytree(PLUGIN, tmp_path_factory.mktemp("resumable") / "source")
    return build(source, tmp_path_factory.mktemp("resumable_wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the plugin in it."""
    environment = Environment(tmp_path_factory.mktemp("resumable_environment") / "environment")
    environment.install(wheel)
    return environment


@pytest.fixture(scope="module")
def node() -> Callable[..., list[str]]:
    """A command of Node.js with tus-js-client at hand."""
    os.environ["NODE_PATH"] = str(installed_packages())
    return lambda *arguments: [NODE, *arguments]


@pytest.fixture
def site(installed: Environment, database: str, tmp_path: Path) -> Site:
    found = Site(installed, tmp_path, database)
    add_demo(found.variables)
    found.flask("db", "upgrade")
    return found


@pytest.fixture
def nodes(site: Site) -> Iterator[list[Client]]:
    """Two servers, so that each may get what the other began."""
    with ExitStack() as stack:
        first = stack.enter_context(site.server())
        site.variables["PORT"] = str(free_port())
        yield [first, stack.enter_context(site.server())]


def photo(directory: Path) -> Path:
    """A JPEG of exactly 10 MiB. Most of it is behind the picture, where phones put other things."""
    out = BytesIO()
    Image.effect_noise((320, 240), 100).save(out, "JPEG")
    path = directory / f"{secrets.token_hex(4)}.jpg"
    path.write_bytes(out.getvalue() + secrets.token_bytes(SIZE - out.tell()))
    return path


def port_of(client: Client) -> int:
    return int(client.address.rpartition(":")[2])


def upload(command: list[str], path: Path, nodes: list[Client]) -> tuple[dict[str, Any], BreakingLine]:
    """What a client of tus was told at the end of a line that broke five times, and the line."""
    ports = [port_of(each) for each in nodes]
    with BreakingLine(ports, every=1_700_000, times=5) as line:
        endpoint = f"http://127.0.0.1:{line.port}/api/v1/uploads"
        arguments = [*command, endpoint, nodes[0].token, str(path), json.dumps(METADATA)]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert line.broken == 5
    return json.loads(done.stdout), line


def uploaded_at_once(client: Client, path: Path) -> dict[str, Any]:
    """The answer of `POST /sync/upload_photo` to the same photo."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{METADATA[name]}\r\n'
        for name in ("form_fill_id", "field_name")
    ]
    parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="riser.jpg"\r\n\r\n')
    body = "".join(parts).encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    status, _, content = raw(client, "POST", "/api/v1/sync/upload_photo", headers, body)
    assert status == 200, content
    found: dict[str, Any] = json.loads(content)
    return found


def raw(client: Client, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, Any, bytes]:
    """Status, headers and bytes of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(client), timeout=60)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {client.token}", **headers})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def is_what_upload_photo_would_have_made(photo_id: str, path: Path, nodes: list[Client]) -> None:
    status, _, content = raw(nodes[-1], "GET", f"/api/v1/attachments/{photo_id}", {})
    assert (status, sha256(content).hexdigest()) == (200, sha256(path.read_bytes()).hexdigest())
    answer = uploaded_at_once(nodes[0], path)
    assert answer["photo_attachment_id"] == photo_id, "the same bytes for the same field are the same photo"
    assert answer["data"]["sha256"] == sha256(content).hexdigest()


@pytest.mark.database("postgresql")
def test_real_clients_upload_10_mib_over_a_line_that_breaks_five_times(
    site: Site, nodes: list[Client], node: Callable[..., list[str]], tmp_path: Path
) -> None:
    first, second = photo(tmp_path), photo(tmp_path)
    # In pieces of a mebibyte, each with its checksum; of a piece that breaks off nothing is kept.
    told, line = upload([sys.executable, str(CLIENTS / "with_tuspy.py")], first, nodes)
    assert line.carried < SIZE + 6 * MEGABYTE
    is_what_upload_photo_would_have_made(told["id"], first, nodes)
    # All that is left in one request each time; of what breaks off all that has arrived is kept.
    told, _ = upload(node(str(CLIENTS / "with_tus_js_client.cjs")), second, nodes)
    assert told["resumedAt"] == sorted(told["resumedAt"])
    assert told["resumedAt"][-1] > MEGABYTE, "no request but the last has come to its end"
    is_what_upload_photo_would_have_made(told["id"], second, nodes)
    assert "without a row" not in site.flask("storage", "check"), "no part is left behind"
    a_worker_that_is_killed_costs_no_more_than_a_part(nodes, photo(tmp_path).read_bytes())


def a_worker_that_is_killed_costs_no_more_than_a_part(nodes: list[Client], data: bytes) -> None:
    first, other = nodes[0], nodes[-1]
    tus = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
    metadata = "form_fill_id MQ==,field_name UmlzZXJfUGhvdG8="
    announced = {"Tus-Resumable": "1.0.0", "Upload-Length": str(SIZE), "Upload-Metadata": metadata}
    _, headers, _ = raw(first, "POST", "/api/v1/uploads", announced)
    url = headers["Location"]
    connection = http.client.HTTPConnection("127.0.0.1", port_of(first), timeout=60)
    connection.putrequest("PATCH", url)
    for name, value in {"Authorization": f"Bearer {first.token}", **tus, "Upload-Offset": "0"}.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(SIZE))
    connection.endheaders(data[: 5 * MEGABYTE])
    arrived(other, url, 4 * MEGABYTE)
    for worker in Path(f"/proc/{first.process.pid}/task/{first.process.pid}/children").read_text().split():
        os.kill(int(worker), signal.SIGKILL)
    connection.close()
    other.wait()
    offset = arrived(other, url, 4 * MEGABYTE)
    _, headers, _ = raw(other, "PATCH", url, {**tus, "Upload-Offset": str(offset)}, data[offset:])
    _, _, content = raw(other, "GET", f"/api/v1/attachments/{headers['Fieldpost-Attachment-Id']}", {})
    assert content == data


def arrived(client: Client, url: str, least: int) -> int:
    """How far the upload has come, once that is `least` bytes."""
    for _ in range(600):
        _, headers, _ = raw(client, "HEAD", url, {"Tus-Resumable": "1.0.0"})
        if int(headers["Upload-Offset"]) >= least:
            return int(headers["Upload-Offset"])
        time.sleep(0.05)
    raise AssertionError(f"after 30 seconds the upload is at {headers['Upload-Offset']}")


@pytest.mark.database("sqlite")
def test_a_photo_on_its_way_is_neither_lost_nor_doubled(site: Site, tmp_path: Path) -> None:
    """tus-js-client with the module of docs/clients.md, in the situations of tests/clients/scenarios/tus.mjs."""
    picture = tmp_path / "picture.jpg"
    Image.new("RGB", (64, 48), "red").save(picture)
    with site.server() as client:
        environment = {
            "FIELDPOST_URL": client.address,
            "FIELDPOST_SECRET_KEY": SECRET_KEY,
            "FIELDPOST_ADMIN_PASSWORD": demo_password(tmp_path, ADMIN),
            "FIELDPOST_PHOTO": str(picture),
        }
        faults = run_scenario(open_workshop(tmp_path / "workshop"), "tus", environment)
    assert len(faults) == 7
    assert not any(faults.values()), faults


#: Plugins of pytest that its tests do not use, and that take longer to load than these tests to run.
UNUSED = ("cacheprovider", "schemathesis", "hypothesispytest", "xdist", "anyio")


def test_its_own_tests_pass_where_it_is_installed(installed: Environment, database: str) -> None:
    unused = [f"-pno:{name}" for name in UNUSED]
    command = ["pytest", "-q", *unused, "tests"]
    environment = {**os.environ, "TEST_DATABASE_URL": database}
    result = run(Program(command, environment, PLUGIN, [installed.site]))
    assert result.returncode == 0, result.stdout + result.stderr
    assert " skipped" not in result.stdout
