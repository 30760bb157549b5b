"""Forgetting what the ledger says about a row or a person, beyond what its age forgets.

The heads of operations stay, so that a retry is still answered as the first time and nothing is applied twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import uuid4

from sqlalchemy import and_, null, select, union, update

from app.core.database.engine import db
from app.core.ledger.audit import note
from app.core.ledger.record import Origin
from app.core.ledger.set_aside import is_open
from app.core.ledger.unit import unit_of_work
from app.models import LedgerEntry, LedgerOperation, SetAside

#: For statements over many rows: no object in the session is brought up to date.
PLAIN = {"synchronize_session": False}


def forget_earlier_values(origin: Origin, entity: str, entity_id: str) -> int:
    """Forget the earlier values of a row, and of a removed row all; returns how many changes were forgotten.

    The changes stay without their values, so that the feed goes on. All of them lead to the present version: a change
    that a device has made on an earlier one is a conflict from then on, as when the ledger has been pruned. Retries are
    still answered, without the `result` of a plugin, which may hold values. Items that were not applied lose all values
    if they are settled, and those of the row if they wait: what the device has sent is yet to be decided.
    """
    own = (LedgerEntry.entity == entity, LedgerEntry.entity_id == entity_id, LedgerEntry.viewer_id.is_(None))

    def work(_unit_id: str) -> int:
        _forget_set_aside(entity, [entity_id])
        statement = select(LedgerEntry.action, LedgerEntry.version_before, LedgerEntry.version_after).where(*own)
        changes = db.session.execute(statement.order_by(LedgerEntry.id)).all()
        # A row that was only created has its present values alone.
        if not changes or [change.action for change in changes] == ["create"]:
            return 0
        present = changes[-1].version_after or changes[-1].version_before
        blank = update(LedgerEntry).where(*own).values(changes={}, version_before=present, version_after=present)
        db.session.execute(blank, execution_options=PLAIN)
        _forget_results(entity, [entity_id])
        note("values_forgotten", origin, None, (entity, entity_id), count=len(changes))
        return len(changes)

    return unit_of_work(work)


def _forget_results(entity: str, entity_ids: Collection[str]) -> None:
    """Leave in the outcomes of the rows' operations only the rows that were changed beside them."""
    own = (
        LedgerOperation.entity == entity,
        LedgerOperation.entity_id.in_(entity_ids),
        LedgerOperation.result.is_not(None),
    )
    for operation_id, result in db.session.execute(
        select(LedgerOperation.id, LedgerOperation.result).where(*own)
    ).all():
        kept = {"also": result["also"]} if result and "also" in result else null()
        statement = update(LedgerOperation).where(LedgerOperation.id == operation_id).values(result=kept)
        db.session.execute(statement, execution_options=PLAIN)


def _forget_set_aside(entity: str, entity_ids: Collection[str]) -> None:
    own = (SetAside.entity == entity, SetAside.entity_id.in_(entity_ids))
    settled = db.session.scalars(select(SetAside.id).where(*own, ~is_open())).all()
    for rows, values in (
        (SetAside.id.in_(settled), {"item": null(), "seen": null(), "details": null(), "item_bytes": 0}),
        (and_(*own), {"seen": null()}),
    ):
        db.session.execute(update(SetAside).where(rows).values(**values), execution_options=PLAIN)


def withhold_fields(entity: str, entity_ids: Collection[str], names: Collection[str]) -> None:
    """Take the values of some fields of rows out of the ledger, which then tells only that they have changed.

    Everything else stays: the other fields, the versions, and the order. `result` and the items that were not applied
    are treated as by `forget_earlier_values`.
    """

    def work(_unit_id: str) -> None:
        own = (LedgerEntry.entity == entity, LedgerEntry.entity_id.in_(entity_ids), LedgerEntry.viewer_id.is_(None))
        for entry_id, changes in db.session.execute(select(LedgerEntry.id, LedgerEntry.changes).where(*own)).all():
            if not changes.keys().isdisjoint(names):
                withheld = {name: {} if name in names else change for name, change in changes.items()}
                statement = update(LedgerEntry).where(LedgerEntry.id == entry_id).values(changes=withheld)
                db.session.execute(statement, execution_options=PLAIN)
        _forget_results(entity, entity_ids)
        _forget_set_aside(entity, entity_ids)

    unit_of_work(work)


def pseudonymise(user_id: int, row: Mapping[str, str]) -> None:
    """Put the values of `row` in place of those that the ledger has of the user's row, and others for devices' ids.

    What apps have noted about operations of the user, applied or not, is removed. Sequence and authorship of the
    changes stay.
    """

    def work(_unit_id: str) -> None:
        own = (LedgerEntry.entity == "user", LedgerEntry.entity_id == str(user_id), LedgerEntry.viewer_id.is_(None))
        for entry_id, changes in db.session.execute(select(LedgerEntry.id, LedgerEntry.changes).where(*own)).all():
            masked = {name: _masked(change, row.get(name)) for name, change in changes.items()}
            statement = update(LedgerEntry).where(LedgerEntry.id == entry_id).values(changes=masked)
            db.session.execute(statement, execution_options=PLAIN)
        _rename_devices(user_id)
        operations = LedgerOperation.user_id == user_id
        db.session.execute(update(LedgerOperation).where(operations).values(meta=None), execution_options=PLAIN)
        _forget_notes(user_id)

    unit_of_work(work)


def _rename_devices(user_id: int) -> None:
    """Give each device of the user another id, the same one everywhere: an item and its operation belong together."""
    models: tuple[type[LedgerOperation] | type[SetAside], ...] = (LedgerOperation, SetAside)
    known = union(*(select(model.device_id).where(model.user_id == user_id) for model in models))
    for device in db.session.scalars(known).all():
        renamed = str(uuid4())
        for model in models if device else ():
            statement = update(model).where(model.user_id == user_id, model.device_id == device)
            db.session.execute(statement.values(device_id=renamed), execution_options=PLAIN)


def _forget_notes(user_id: int) -> None:
    own = (SetAside.user_id == user_id, SetAside.item.is_not(None))
    for key, item in db.session.execute(select(SetAside.id, SetAside.item).where(*own)).all():
        kept = {name: value for name, value in (item or {}).items() if name != "meta"}
        statement = update(SetAside).where(SetAside.id == key).values(item=kept)
        db.session.execute(statement, execution_options=PLAIN)


def _masked(change: Mapping[str, Any], value: str | None) -> dict[str, Any]:
    return dict(change) if value is None else dict.fromkeys(change, value)
