"""One operation at its turn: remembered or not, its rows, policy, conflict, apply.

Everything is in memory here: whatever an operation needs was loaded and locked with the batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import Any

import orjson

from app import policies
from app.clock import to_wire
from app.core.host.registry import Registry
from app.core.ledger.entries import Entry, Head
from app.core.ledger.record import Recorder
from app.core.sync import answers
from app.core.sync.answers import Answer
from app.core.sync.conflicts import Step, base_of, lift, three_way
from app.core.sync.context import OperationContext
from app.core.sync.items import error_entry
from app.core.sync.prepare import Draft, Reference, invalid
from app.core.sync.rows import Rows
from app.errors import Rejected
from app.http.metrics import Tally
from app.models.entities import entity_of, fields_of
from app.plugin_api import ById, Children, Operation, Outcome, Policy, Row, SyncHandler

logger = logging.getLogger(__name__)

#: What an operation's `result` may come to, as JSON.
MAX_RESULT_BYTES = 4096

MESSAGES = {
    "use_local": "Conflict resolved with the local version",
    "use_server": "Conflict resolved with the server version",
    "merge": "Conflict merged",
}


@dataclass(kw_only=True, slots=True)
class Remembered:
    """An operation that was applied before, by an earlier batch or by this one."""

    model: type | None
    key: Any
    message: str
    applied_at: datetime
    #: None where the type has no versions.
    version_before: datetime | None
    version_after: datetime | None
    #: `{"result": …, "also": [[entity, id], …]}`, each where there is one.
    result: Mapping[str, Any]


@dataclass(kw_only=True)
class State:
    """What the operations of one batch share."""

    recorder: Recorder
    rows: Rows
    registry: Registry
    remembered: dict[tuple[str | None, str | None], Remembered] = field(default_factory=dict)
    #: What the ledger tells of stale rows, by entity and id, oldest first.
    past: dict[tuple[str, Any], list[Step]] = field(default_factory=dict)
    #: What this batch did to a row so far, in order: applied by it, and applied earlier and replayed by it.
    applied: dict[Row, list[Step]] = field(default_factory=dict)
    own: dict[Row, list[Step]] = field(default_factory=dict)
    #: What to call once the batch is durable.
    calls: list[Callable[[], None]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def note(self, entries: Iterable[Entry]) -> None:
        """An applied operation took these rows from one version to the next."""
        for entry in entries:
            if entry.version_after is not None:
                step = Step(before=entry.version_before, after=entry.version_after, changes=entry.changes)
                self.applied.setdefault(entry.row, []).append(step)
                self.own.setdefault(entry.row, []).append(step)

    def forget(self, entries: Iterable[Entry]) -> None:
        """These changes are going to be taken back; they may have been noted already."""
        for entry in entries:
            for steps in (self.applied.get(entry.row), self.own.get(entry.row)):
                if steps and entry.version_after is not None:
                    steps[:] = [step for step in steps if step.after != entry.version_after]
        self.rows.forget_children()


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the version rule says of an operation that may go on."""

    #: The fields still to be set.
    changes: Mapping[str, Any]
    #: The message, where a conflict was resolved.
    message: str | None = None
    #: Whether the client knew the version before, so that it needs no content with the new one.
    is_known: bool = False
    #: Whether the local change is dropped.
    is_dropped: bool = False


def judge(state: State, draft: Draft) -> Answer:
    """The answer to one item. A rejection leaves nothing behind; anything else that is raised is a bug."""
    key = (draft.item.local_id, draft.fingerprint)
    if draft.fingerprint and key in state.remembered:
        return _replay(state, draft, state.remembered[key])
    mark = len(state.recorder.entries)
    try:
        if draft.fault is not None:
            raise draft.fault
        return _apply(state, draft, mark)
    except Rejected as rejected:
        if len(state.recorder.entries) > mark:
            state.recorder.undo(mark)
            state.rows.forget_children()
        return reject(draft, rejected)


def reject(draft: Draft, rejected: Rejected) -> Answer:
    """The entry of a refused item; logged with its code, never with data."""
    logger.info(
        "operation rejected",
        extra={
            "code": rejected.code,
            "type": draft.handler.type if draft.handler else None,
            "index": draft.item.index,
            "local_id": draft.item.local_id,
        },
    )
    return answers.error(error_entry(draft.item, rejected))


def _apply(state: State, draft: Draft, mark: int) -> Answer:
    handler = draft.handler
    assert handler is not None
    target, parent = _find_target(state, draft, handler)
    rows = _find_rows(state.rows, draft, handler.rows, target)
    reads = _find_rows(state.rows, draft, handler.reads, target)
    changeable = [row for row in (target, parent, *_flat(rows)) if row is not None]
    for row in _flat(rows):
        _ask(handler.policy, state.recorder.user, row)
    local = handler.changes(draft.data) if handler.changes is not None else draft.data
    verdict = _decide(state, draft, target, local) if handler.versioned else Verdict(changes=local)
    if isinstance(verdict, Answer):
        return verdict
    before = None if target is None else target.updated_at
    if verdict.is_dropped:
        outcome, calls = Outcome(), []
    else:
        settings = state.registry.settings_of(handler)
        context = OperationContext(state.recorder, state.rows, changeable, draft.client_id, settings)
        operation = Operation(
            index=draft.item.index,
            type=handler.type,
            local_id=draft.item.local_id,
            data=draft.data,
            changes=verdict.changes,
            model=handler.target.model,
            target=target,
            parent=parent if target is None else None,
            rows={**rows, **reads},
        )
        outcome, calls = _call(state, handler, operation, context), context.calls
    return _record(state, draft, outcome, verdict, mark, target=target, before=before, calls=calls)


def _call(state: State, handler: SyncHandler, operation: Operation, context: OperationContext) -> Outcome:
    started = perf_counter()
    try:
        return handler.apply(operation, context)
    finally:
        state.tally.add_call(handler.type, started)


def _find_target(state: State, draft: Draft, handler: SyncHandler) -> tuple[Row | None, Row | None]:
    """The row to act on, and the row below which to create; existing, agreeing and permitted."""
    user = state.recorder.user
    if draft.target is not None:
        target = _found(state.rows, draft.target)
        _ask(handler.policy, user, target)
        differing = _differing_identity(state.rows, draft, target)
        if differing:
            raise invalid({name: ["This never changes; leave it out, or create a new row."] for name in differing})
        return target, None
    assert draft.parent is not None
    parent = _found(state.rows, draft.parent)
    _ask(handler.policy, user, parent)
    existing = None
    if draft.client_id is not None:
        existing = state.rows.find(Reference(handler.target.model, draft.client_id, is_client_id=True))
    if existing is not None:
        agrees = existing.inspection_id == parent.inspection_id and not _differing_identity(state.rows, draft, existing)
        if not agrees or not handler.policy(user, existing):
            raise Rejected("invalid", "client_id is taken", "Make a new UUID for each new row.")
    return existing, parent


def _differing_identity(rows: Rows, draft: Draft, row: Row) -> list[str]:
    """Columns that never change, and that the payload names otherwise than the row."""
    return [name for name, sent in draft.identity.items() if _value_of(rows, sent) != getattr(row, name)]


def _value_of(rows: Rows, sent: Any) -> Any:
    """What was sent; where that is the client_id of a row, the row's id."""
    if not isinstance(sent, Reference):
        return sent
    named = rows.find(sent)
    return None if named is None else named.id


def _find_rows(rows: Rows, draft: Draft, targets: Mapping[str, Any], target: Row | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, each in targets.items():
        if isinstance(each, ById):
            reference = draft.references[name]
            found[name] = None if reference is None else _found(rows, reference)
        elif target is None:
            found[name] = [] if isinstance(each, Children) else None
        else:
            found[name] = rows.children(each, target) if isinstance(each, Children) else rows.via(each, target)
    return found


def _flat(rows: Mapping[str, Any]) -> Iterator[Row]:
    for found in rows.values():
        if isinstance(found, list):
            yield from found
        elif found is not None:
            yield found


def _found(rows: Rows, reference: Reference) -> Row:
    row = rows.find(reference)
    if row is None:
        label = entity_of(reference.model).label
        # A form created offline may still be on its way in another batch; an id was once given by us.
        raise Rejected("not_found", f"{label} not found", retryable=reference.is_client_id)
    return row


def _ask(policy: Policy, user: Any, row: Row) -> None:
    if not policy(user, row):
        raise Rejected("forbidden", f"Not authorized to update this {entity_of(row).noun}")


def _decide(state: State, draft: Draft, target: Row | None, local: Mapping[str, Any]) -> Verdict | Answer:
    """The version rule of contract section 3.1, or the answer of a conflict."""
    if target is None:
        return Verdict(changes=local)
    # A create that meets its own row again stands on the version that it was created with.
    sent = draft.version if draft.target is not None else draft.version or target.created_at
    if sent is None:
        return Verdict(changes=local)
    own = state.own.get(target, [])
    version = lift(sent, own)
    if version >= target.updated_at:
        return Verdict(changes=local, is_known=draft.version is not None and version == target.updated_at)
    return _resolve(state, draft, target, local, version)


def _resolve(state: State, draft: Draft, target: Row, local: Mapping[str, Any], version: datetime) -> Verdict | Answer:
    """A conflict: decided up front by `resolve_strategy`, or answered."""
    if draft.strategy == "use_local":
        return Verdict(changes=local, message=MESSAGES["use_local"])
    if draft.strategy == "use_server":
        return Verdict(changes={}, message=MESSAGES["use_server"], is_dropped=True)
    present = fields_of(target)
    steps = [*state.past.get((entity_of(target).name, target.id), ()), *state.applied.get(target, ())]
    base = base_of(present, target.updated_at, version, steps, state.own.get(target, ()))
    merge = three_way(base, present, local)
    if draft.strategy == "merge" and base is not None and local and not merge.conflicting:
        return Verdict(changes=merge.changes, message=MESSAGES["merge"])
    return answers.conflict(draft.item, target, draft.sent_version, local, base, merge)


def _record(
    state: State,
    draft: Draft,
    outcome: Outcome,
    verdict: Verdict,
    mark: int,
    *,
    target: Row | None,
    before: datetime | None,
    calls: Iterable[Callable[[], None]],
) -> Answer:
    """Remember an applied operation, and answer it."""
    handler = draft.handler
    assert handler is not None
    row: Row = outcome.row if outcome.row is not None else target
    if row is None:
        raise TypeError("apply created no row and there is no target: return Outcome(row=…).")
    if row is not target:
        before = None
    label = entity_of(row).label
    default = f"{label} updated successfully" if target is not None else f"{label} created successfully"
    message = verdict.message or outcome.message or default
    entries = state.recorder.entries[mark:]
    others = list({each.row: None for each in entries if each.row is not row and each.version_after is not None})
    remembered = Remembered(
        model=type(row),
        key=row.id,
        message=message,
        applied_at=state.recorder.now,
        version_before=before if handler.versioned else None,
        version_after=row.updated_at if handler.versioned else None,
        result=_result(outcome, others if handler.versioned else []),
    )
    state.note(entries)
    state.remembered[draft.item.local_id, draft.fingerprint] = remembered
    state.recorder.heads.append(_head(draft, row, remembered))
    state.calls.extend(calls)
    answer = answers.success(draft.item, row, message)
    if handler.versioned:
        _add_versions(answer, row, others, is_known=verdict.is_known)
    if outcome.result:
        answer.entry["result"] = dict(outcome.result)
    return answer


def _add_versions(answer: Answer, row: Row, others: list[Row], *, is_known: bool) -> None:
    if is_known:
        answer.entry["updated_at"] = to_wire(row.updated_at)
    else:
        answer.show(row)
    if others:
        answer.entry["also"] = answers.also(others)


def _result(outcome: Outcome, others: list[Row]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if outcome.result:
        size = len(orjson.dumps(dict(outcome.result)))
        if size > MAX_RESULT_BYTES:
            raise ValueError(f"The result has {size} bytes; at most {MAX_RESULT_BYTES} are kept for retries.")
        found["result"] = dict(outcome.result)
    if others:
        found["also"] = [[entity_of(row).name, str(row.id)] for row in others]
    return found


def _head(draft: Draft, row: Row, remembered: Remembered) -> Head:
    assert draft.handler is not None
    return Head(
        position=draft.item.index,
        type=draft.handler.type,
        local_id=draft.item.local_id,
        fingerprint=draft.fingerprint,
        row=row,
        version_before=remembered.version_before,
        version_after=remembered.version_after,
        message=remembered.message,
        result=remembered.result,
    )


def _replay(state: State, draft: Draft, remembered: Remembered) -> Answer:
    """The first success entry again, with the row as it is now, where the user may still read it (section 3.2)."""
    row = state.rows.get(remembered.model, remembered.key) if remembered.model is not None else None
    if row is not None and (state.recorder.is_deleted(row) or not policies.read(state.recorder.user, row)):
        row = None
    item = draft.item
    entry: dict[str, Any] = {
        "index": item.index,
        "local_id": item.local_id,
        "type": item.type,
        "server_id": remembered.key,
        "message": remembered.message,
        "replayed": True,
        "first_applied_at": to_wire(remembered.applied_at),
    }
    if "result" in remembered.result:
        entry["result"] = remembered.result["result"]
    answer = Answer(outcome="success", entry=entry)
    if row is not None and remembered.version_after is not None:
        answer.show(row)
        step = Step(before=remembered.version_before, after=remembered.version_after)
        state.own.setdefault(row, []).append(step)
        others = [_other(state, *each) for each in remembered.result.get("also", ())]
        shown = [each for each in others if each is not None]
        if shown:
            entry["also"] = answers.also(shown)
    return answer


def _other(state: State, entity: str, key: str) -> Row | None:
    """A further row of a remembered operation, where it is still there to be seen."""
    model = state.registry.models.get(entity)
    row = None if model is None else state.rows.get(model, state.registry.key_of(model, key))
    visible = row is not None and not state.recorder.is_deleted(row) and policies.read(state.recorder.user, row)
    return row if visible else None
