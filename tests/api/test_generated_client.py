"""A client that openapi-python-client generates from the document signs in, syncs and uploads, all of it typed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask

from app.models import FormFill, Inspection, User
from app.testing import PASSWORD, World
from tests.api.conftest import API
from tests.support.pictures import png

pytestmark = pytest.mark.database("sqlite")

#: Nothing is to be run after it; bytes are bytes for it, whatever they show.
CONFIGURATION = """
post_hooks: []
content_type_overrides: {image/jpeg: application/octet-stream, image/png: application/octet-stream,
  "*/*": application/octet-stream}
"""

ADDRESS = "http://localhost"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the client is, once a test has generated it."""
    return tmp_path_factory.mktemp("client")


@pytest.fixture
def generated(app: Flask, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """`generated("api.sync.sync_push")`: a module of the client, which is generated without a single warning."""
    if not (directory / "generated_client").exists():
        generate(directory, app.test_client().get(f"{API}/openapi.json").data)
    monkeypatch.syspath_prepend(directory)
    yield lambda name: import_module(f"generated_client.{name}")
    for name in [each for each in sys.modules if each.split(".")[0] == "generated_client"]:
        del sys.modules[name]


def generate(directory: Path, document: bytes) -> None:
    """Make a client of the document."""
    (directory / "openapi.json").write_bytes(document)
    (directory / "configuration.yml").write_text(CONFIGURATION)
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--fail-on-warning"]
    command += ["--path", "openapi.json", "--config", "configuration.yml", "--output-path", "generated_client"]
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def transport(app: Flask) -> dict[str, Any]:
    """What leads httpx to the application."""
    return {"transport": httpx.WSGITransport(app=app)}


@pytest.fixture
def form_fill(world: World, tech: User, owner: User) -> FormFill:
    return world.form_fill(world.inspection(owner, tech), data={"Location_row_1": "Roof"})


@pytest.fixture
def client(generated: Callable[[str], Any], transport: dict[str, Any], tech: User) -> Any:
    """The generated client, signed in by itself."""
    anonymous = generated("client").Client(base_url=ADDRESS, httpx_args=transport, raise_on_unexpected_status=True)
    credentials = generated("models").Credentials(email=tech.email, password=PASSWORD)
    tokens = generated("api.auth.auth_login").sync(client=anonymous, body=credentials)
    assert tokens.user.email == tech.email
    return generated("client").AuthenticatedClient(
        base_url=ADDRESS, token=tokens.access_token, httpx_args=transport, raise_on_unexpected_status=True
    )


def test_a_generated_client_signs_in_syncs_and_uploads(
    generated: Callable[[str], Any], client: Any, world: World, form_fill: FormFill
) -> None:
    models = generated("models")
    batch = models.SyncPushBody(sync_items=items_about(models, form_fill))
    push = generated("api.sync.sync_push").sync

    answer = push(client=client, body=batch)
    assert [each.server_id for each in answer.results.success] == [form_fill.id, form_fill.inspection_id, form_fill.id]
    assert not answer.results.errors + answer.results.conflicts
    assert world.get(FormFill, form_fill.id).data["Location_row_1"] == "Basement"
    assert world.get(Inspection, form_fill.inspection_id).status == "completed"

    again = push(client=client, body=batch)
    assert [each.replayed for each in again.results.success] == [True, True, True]

    uploaded = generated("api.photos.photos_upload_photo").sync(client=client, body=upload_to(generated, form_fill))
    listed = generated("api.attachments.attachments_list_attachments").sync(key=str(form_fill.id), client=client)
    assert [each.id for each in listed.data.attachments] == [uploaded.photo_attachment_id]
    fetched = generated("api.attachments.attachments_get_attachment").sync_detailed(uploaded.data.id, client=client)
    assert fetched.content == png()


def items_about(models: Any, form_fill: FormFill) -> list[Any]:
    """A change under an alias, a status, a deletion."""
    changes = models.SyncItemFormFillFormFillChangeChanges.from_dict({"Location_row_1": "Basement"})
    status = models.SyncItemInspectionInspectionChangeStatus.COMPLETED
    return [
        models.SyncItemFormFill(
            type_=models.SyncItemFormFillType.FORM_FILL_UPDATE,
            local_id="change",
            data=models.SyncItemFormFillFormFillChange(id=form_fill.id, changes=changes),
        ),
        models.SyncItemInspection(
            type_=models.SyncItemInspectionType.INSPECTION,
            local_id="status",
            data=models.SyncItemInspectionInspectionChange(id=form_fill.inspection_id, status=status),
        ),
        models.SyncItemPhotoDelete(
            type_=models.SyncItemPhotoDeleteType.PHOTO_DELETE,
            local_id="deletion",
            data=models.SyncItemPhotoDeleteData(form_fill_id=form_fill.id, field_name="Riser_Photo"),
        ),
    ]


def upload_to(generated: Callable[[str], Any], form_fill: FormFill) -> Any:
    photo = generated("types").File(payload=BytesIO(png()), file_name="photo.png", mime_type="image/png")
    return generated("models").PhotosUploadPhotoBody(
        form_fill_id=str(form_fill.id), field_name="Riser_Photo", photo=photo
    )


def test_a_generated_client_gets_errors_as_objects(generated: Callable[[str], Any], client: Any) -> None:
    found = generated("api.form_fills.form_fills_get_form_fill").sync("404", client=client)
    assert (found.code, found.error) == ("not_found", "FormFill not found")
