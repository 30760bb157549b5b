"""Who may do what, for every type: role × what the inspection is to them (contract, section 2)."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from app.models import Attachment, FormFill, Inspection, User
from app.testing import push
from tests.conftest import SignIn, World

ROLES = ("admin", "technician", "user")
#: What an inspection can be to somebody.
RELATIONS = ("own", "assigned", "both", "other's", "missing")

#: Contract, section 2: what is one's own, whatever the role; what is assigned, as a technician; all, as an admin.
ALLOWED = {
    ("technician", "assigned"),
    *((role, relation) for role in ROLES for relation in ("own", "both")),
    *(("admin", relation) for relation in RELATIONS if relation != "missing"),
}


def items(inspection_id: int, form_fill_id: int, template_id: int) -> dict[str, dict[str, Any]]:
    """One item of each type, and a create."""
    payloads: dict[str, dict[str, Any]] = {
        "form_fill": {"id": form_fill_id, "changes": {"a": 1}},
        "form_fill_update": {"form_fill_id": form_fill_id, "data": {"a": 2}},
        "create": {"inspection_id": inspection_id, "form_template_id": template_id, "data": {"a": 1}},
        "inspection": {"id": inspection_id, "status": "completed"},
        "photo_delete": {"form_fill_id": form_fill_id, "field_name": "Riser_Photo"},
        "signature_delete": {"form_fill_id": form_fill_id, "field_name": "Signature"},
    }
    return {
        name: {"type": "form_fill" if name == "create" else name, "local_id": name, "data": data}
        for name, data in payloads.items()
    }


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("role", ROLES)
def test_every_type_asks_who_may(world: World, sign_in: SignIn, role: str, relation: str) -> None:
    somebody = world.user("somebody@example.com")
    me = world.user("me@example.com", role)
    owner = me if relation in ("own", "both") else somebody
    assignee = me if relation in ("assigned", "both") else somebody
    form_fill = world.form_fill(world.inspection(owner, assignee))
    world.attachment(form_fill)
    world.attachment(form_fill, "Signature", "signature")
    root, key = (form_fill.inspection_id, form_fill.id) if relation != "missing" else (4711, 4711)
    results = push(sign_in(me), *items(root, key, form_fill.form_template_id).values())
    is_untouched = (
        world.get(Inspection, form_fill.inspection_id).status == "pending"
        and world.get(FormFill, form_fill.id).data == {}
        and len(world.all(FormFill)) == 1
        and all(each.deleted_at is None for each in world.all(Attachment))
    )
    if (role, relation) in ALLOWED:
        assert len(results["success"]) == 6
        assert not is_untouched
        return
    assert results["success"] == results["conflicts"] == []
    assert is_untouched
    code = "not_found" if relation == "missing" else "forbidden"
    assert {entry["code"] for entry in results["errors"]} == {code}
    sentences = {entry["local_id"]: entry["error"] for entry in results["errors"]}
    if code == "forbidden":
        assert sentences["form_fill"] == sentences["photo_delete"] == "Not authorized to update this form"
        assert sentences["inspection"] == sentences["create"] == "Not authorized to update this inspection"
    else:
        assert sentences["form_fill"] == sentences["photo_delete"] == "FormFill not found"
        assert sentences["inspection"] == sentences["create"] == "Inspection not found"


def test_a_change_of_role_or_assignment_counts_from_the_next_batch(
    world: World, device: FlaskClient, other: FlaskClient, tech: User, inspection: Inspection
) -> None:
    def attempt(local_id: str) -> str:
        item = {"type": "inspection", "local_id": local_id, "data": {"id": inspection.id, "notes": local_id}}
        results = push(device, item)
        return "applied" if results["success"] else str(results["errors"][0]["code"])

    assert attempt("1") == "applied"
    demoted = _change(world, User, tech.id, role="user")
    assert demoted.role == "user"
    assert attempt("2") == "forbidden"
    _change(world, User, tech.id, role="technician")
    assert attempt("3") == "applied"
    _change(world, Inspection, inspection.id, assignee_id=None)
    assert attempt("4") == "forbidden"
    assert world.get(Inspection, inspection.id).notes == "3"


def _change(world: World, model: type, key: int, **values: Any) -> Any:
    from app.core.database.engine import db
    from app.core.ledger.record import Origin, record

    with world.app.app_context():
        record(
            "test.change", Origin(door="cli"), lambda recorder: recorder.change(db.session.get_one(model, key), values)
        )
    return world.get(model, key)


def test_anybody_not_signed_in_is_told_so_in_json(world: World, form_fill: FormFill) -> None:
    client = world.app.test_client()
    for method, path in (("POST", "/sync"), ("GET", "/sync/status"), ("GET", "/sync/types")):
        answer = client.open(f"/api/v1{path}", method=method, json={"sync_items": []} if method == "POST" else None)
        assert answer.status_code == 401
        assert answer.json is not None
        assert (answer.json["error"], answer.json["code"]) == ("Unauthorized", "token_missing")
