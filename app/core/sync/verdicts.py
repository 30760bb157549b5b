"""The version rule, applied to one operation: it goes on, with all of its changes or some, or it is a conflict.

`app.core.sync.conflicts` has the rule itself (contract, section 3.1); here it meets the rows of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.core.ledger.versions import is_ahead, is_version_of, lift, was_never_given
from app.core.sync import answers
from app.core.sync.answers import Answer
from app.core.sync.attempt import Attempt, RowHistory
from app.core.sync.bounds import crowded_out
from app.core.sync.conflicts import Step, base_of, differing, outdone, three_way
from app.core.sync.items import Routed
from app.models.entities import Fields, Row, fields_of
from app.plugin_api import NOTHING_TO_SET, Operation

MESSAGES = {
    "use_local": "Conflict resolved with the local version",
    "use_server": "Conflict resolved with the server version",
    "merge": "Conflict merged",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The decision of the version rule about an operation that may go on."""

    #: The fields still to be set.
    changes: Mapping[str, object]
    #: The message, where a conflict was resolved.
    message: str | None = None
    #: Whether the client knew the version before, so that it needs no content with the new one.
    is_known: bool = False
    #: Whether the local change is dropped.
    is_dropped: bool = False


class Standing:
    """A row, and its changes since the version that a client's change was made on."""

    def __init__(self, history: RowHistory, row: Row, sent: datetime) -> None:
        self.row = row
        #: The version that the client has sent.
        self.sent = sent
        self.changes, self.own = history.changes_of(row), history.own_of(row)
        #: Whether the row had that version, as far as the ledger tells.
        self.is_given = is_version_of(sent, row.updated_at, self.changes)
        #: The version that it stands for, after the client's own changes since.
        self.version = lift(sent, self.own)

    @property
    def is_stale(self) -> bool:
        """Whether somebody else has changed the row since."""
        return self.version < self.row.updated_at

    @property
    def is_unknown(self) -> bool:
        """Whether the row never had the version that was sent."""
        return not self.is_given and was_never_given(self.sent, self.row.updated_at, self.changes)

    def base(self, present: Fields) -> Fields | None:
        """The fields that the client started from; None where they are not known."""
        if not self.is_given:
            return None
        return base_of(present, self.row.updated_at, self.version, self.changes, self.own)


def decide(attempt: Attempt, item: Routed, operation: Operation) -> Verdict | Answer:
    """The version rule of contract section 3.1, or the answer of a conflict."""
    target: Row | None = operation.target
    claimed = item.keys.version
    if target is None:
        return Verdict(changes=operation.changes)
    # A create that meets its own row again stands on the version that it was created with.
    sent = claimed if item.keys.target is not None else claimed or target.created_at
    if sent is None:
        return Verdict(changes=operation.changes)
    if sent == target.updated_at or _is_next(item, target, sent, attempt.history.in_batch(target)):
        return Verdict(changes=operation.changes, is_known=claimed is not None)
    if operation.changes is NOTHING_TO_SET:
        return Verdict(changes=operation.changes)
    return _compare(attempt, item, operation.changes, Standing(attempt.history, target, sent))


def _is_next(item: Routed, row: Row, sent: datetime, steps: Sequence[Step]) -> bool:
    """Whether nothing has happened to the row since but earlier items of the batch, made before: the usual case."""
    if not steps or sent != steps[0].version_before or lift(sent, steps) != row.updated_at:
        return False
    return item.made_at is None or all(step.made_at is None or step.made_at <= item.made_at for step in steps)


def _compare(attempt: Attempt, item: Routed, local: Mapping[str, object], standing: Standing) -> Verdict | Answer:
    """The rule where the client's version is not the row's present one. `local`: the fields to set."""
    is_ahead_of_clock = is_ahead(standing.sent, attempt.recorder.now)
    if not standing.is_given and (is_ahead_of_clock or item.keys.strategy == "merge"):
        return _resolve(attempt, item, local, standing)
    # Newer work of the same device is not undone by what arrives late.
    late = outdone(standing.sent, item.made_at, standing.changes, standing.own) & local.keys()
    still = {name: value for name, value in local.items() if name not in late} if late else local
    if standing.is_stale and (still or not local):
        return _resolve(attempt, item, still, standing)
    # Where more was in between than this batch has told, the client may not hold it.
    lifted = lift(standing.sent, attempt.history.in_batch(standing.row))
    is_known = item.keys.version is not None and lifted == standing.row.updated_at
    return Verdict(changes=still, is_known=is_known and not late)


def _resolve(attempt: Attempt, item: Routed, local: Mapping[str, object], standing: Standing) -> Verdict | Answer:
    """A conflict: decided up front by `resolve_strategy`, found to have nothing to decide, or answered."""
    strategy = item.keys.strategy
    if strategy == "use_local":
        return Verdict(changes=local, message=MESSAGES["use_local"])
    if strategy == "use_server":
        return Verdict(changes={}, message=MESSAGES["use_server"], is_dropped=True)
    present = fields_of(standing.row)
    base = standing.base(present)
    merged, conflicting = three_way(base, present, local)
    if strategy == "merge" and base is not None and local and not conflicting:
        return Verdict(changes=merged, message=MESSAGES["merge"])
    # An operation that names no fields conflicts with everything that somebody else has changed.
    names = conflicting or (differing(present, local) if local else differing(base or {}, present))
    if not names:
        # The values are stored already, or those that others had changed are back: there is nothing to decide.
        return Verdict(changes=local)
    if not attempt.shown.may_show(standing.row):
        return crowded_out(item)
    return answers.conflict(item, standing.row, local, base, names, is_unknown=standing.is_unknown)
