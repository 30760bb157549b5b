"""`POST /rescue`: the queue of a device that cannot sync by itself (contract, section 14)."""

from __future__ import annotations

from flask import Response, request

from app.administration.rescue import FORM, RESULTS, read_in
from app.clock import to_wire
from app.core.sync.shapes import ECHO, batch
from app.core.values import UUID_FORM
from app.http.body import read_envelope
from app.openapi.shapes import (
    BOOLEAN,
    COUNT,
    ID,
    OBJECT,
    ROW_ID,
    TEXT,
    TIME,
    UUID,
    JsonSchema,
    Named,
    array_of,
    nullable,
    obj,
    one_of,
    with_description,
)
from app.web import RestBlueprint, answer, described, signed_in_user

blueprint = RestBlueprint("rescue", __name__, description="Queues of devices that cannot sync by themselves")

RESULT = Named(
    "RescueResult",
    obj(
        ("server_id", "code", "error", "retryable", "details"),
        index=with_description(COUNT, "Position in the file's `sync_items`."),
        result=one_of(*RESULTS),
        local_id=ECHO,
        type=ECHO,
        message=TEXT,
        server_id=ROW_ID,
        code=TEXT,
        error=TEXT,
        retryable=BOOLEAN,
        details=OBJECT,
    ),
)
RESCUED = Named(
    "Rescue",
    obj(
        user=obj(id=ID, name=TEXT),
        device_id=nullable(UUID),
        saved_at=nullable(TIME),
        counts=obj(**dict.fromkeys(RESULTS, COUNT)),
        results=array_of(RESULT),
    ),
)

EXAMPLE = {
    "fieldpost_rescue": FORM,
    "saved_at": "2024-03-15T10:35:00.000Z",
    "user": {"id": 2, "email": "technician@example.com"},
    "device_id": "0f5d2b5e-7c1a-4d7e-9b1f-0a4c3e2d1b00",
    "sync_items": [],
}


def rescue_file() -> JsonSchema:
    """A rescue file, with items of the installed types."""
    return Named(
        "RescueFile",
        obj(
            ("saved_at",),
            fieldpost_rescue=with_description({"type": "integer", "const": FORM}, "The form of the file."),
            user=obj(id=ID, email={**TEXT, "minLength": 1, "maxLength": 255}),
            device_id=nullable({**UUID, "pattern": f"^{UUID_FORM.pattern}$"}),
            saved_at=nullable(TIME),
            sync_items=with_description(batch()["properties"]["sync_items"], "The queue, in the order of its making."),
        ),
    )


@blueprint.post("/rescue")
@described(
    body=rescue_file,
    examples={"a file": EXAMPLE},
    data=RESCUED,
    errors=("invalid", "forbidden", "not_found", "too_many_items"),
)
def read_in_file() -> Response:
    """Read in a rescue file; for administrators, and for its sender. 200 even if every item failed."""
    document, is_suspect = read_envelope(request)
    rescued = read_in(signed_in_user(), document, is_suspect=is_suspect)
    done = rescued.counts["applied"] + rescued.counts["replayed"]
    data = {
        "user": {"id": rescued.user_id, "name": rescued.user_name},
        "device_id": rescued.device_id,
        "saved_at": None if rescued.saved_at is None else to_wire(rescued.saved_at),
        "counts": rescued.counts,
        "results": rescued.results,
    }
    return answer(data, f"{done} of {len(rescued.results)} items are applied")
