"""Units of work: check, change and record in one transaction, repeated when the database asks for it.

A unit is opened explicitly, after body, schema and image work. On SQLite it is `BEGIN IMMEDIATE`; on PostgreSQL it is
`BEGIN READ WRITE`, and rows are locked as they are read. No GET route of the API opens one.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, event, select
from sqlalchemy.exc import DBAPIError, IntegrityError, TimeoutError
from sqlalchemy.orm import Session

from app.core.database.engine import db
from app.core.database.session import RestrictableSession
from app.core.database.sqlite_file import DAMAGED, primary_code
from app.core.database.transactions import OutsideUnitError, begin_writing, may_write, writing
from app.errors import TryAgainError
from app.models import LedgerOperation

logger = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 3

NOT_TAKEN = "The database did not take the change"

#: PostgreSQL's state for a lock that was waited for in vain.
LOCK_TIMEOUT = "55P03"

#: PostgreSQL's state for a statement that writes in a read-only transaction.
READ_ONLY = "25006"

#: PostgreSQL's states after which the same unit may well succeed: serialization failure, deadlock, lock not
#: available, statement timed out, the server going down or starting, any broken connection (class 08), a full disk
#: or too many connections (class 53), a disk that fails, a server that has become a replica.
REPEATABLE_STATES = ("40001", "40P01", LOCK_TIMEOUT, "57014", "57P01", "57P02", "57P03", "08", "53", "58030", READ_ONLY)

#: SQLite's codes for a file that is locked, full, failing, out of reach or damaged.
UNAVAILABLE_CODES = DAMAGED | {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
}

#: Breached inside a unit where another one got there first (rule 5 of docs/architecture.md).
TWIN_CONSTRAINT = "uq_ledger_operations_user_id_device_id_local_id_fingerprint"


class RaceError(Exception):
    """Rows have changed since the unit looked them up without a lock: repeat the unit."""


def unit_of_work(work: Callable[[str], T]) -> T:
    """Run `work(unit_id)` in one transaction and commit it; at most three times.

    Raises `TryAgainError` when the database keeps refusing, or is not there: then nothing was recorded, as far as can
    be known. Any other exception of `work` rolls everything back and comes through.
    """
    # A unit during whose COMMIT the connection broke: only the ledger knows whether it came through.
    in_doubt: tuple[str, T] | None = None
    for attempt in range(1, ATTEMPTS + 2):
        unit_id = secrets.token_hex(16)
        # No decision is taken on rows that the request has read so far.
        db.session.remove()
        try:
            if in_doubt is not None and _is_recorded(in_doubt[0]):
                return in_doubt[1]
            in_doubt = None
            if attempt > ATTEMPTS:
                break
            begin_writing(db.session())
            result = work(unit_id)
            in_doubt = unit_id, result
            db.session.commit()
            return result
        except (DBAPIError, RaceError, TimeoutError) as error:
            db.session.rollback()
            if _is_given_up(error, attempt):
                break
        except BaseException:
            db.session.rollback()
            raise
    raise TryAgainError(NOT_TAKEN)


def bare_unit_of_work(work: Callable[[Connection], T]) -> T:
    """As `unit_of_work`, but on a connection, without a session and without the ledger: in a fraction of the time.

    Nobody can tell whether a COMMIT came through during which the connection broke. `work` is then run again, and must
    be able to meet all that it has written.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with writing(db.engine) as connection:
                return work(connection)
        except (DBAPIError, TimeoutError) as error:
            if _is_given_up(error, attempt):
                break
    raise TryAgainError(NOT_TAKEN)


def _is_given_up(error: DBAPIError | RaceError | TimeoutError, attempt: int) -> bool:
    """Whether the unit is not repeated after this error, which is logged. Raises the error if it is no obstacle."""
    if not is_repeatable(error):
        raise error
    is_last = has_waited_in_vain(error)
    message = "unit given up" if is_last else "unit repeated"
    logger.warning(message, extra={"attempt": attempt, "reason": _reason(error)})
    return is_last


@event.listens_for(RestrictableSession, "before_flush")
def _require_unit(session: Session, *_: object) -> None:
    """Refuse to write without a unit: half of the rows might stay."""
    if not may_write(session):
        names = ", ".join(sorted({type(row).__name__ for row in [*session.new, *session.dirty, *session.deleted]}))
        raise OutsideUnitError(
            f"The session was to write {names} outside a unit of work. Change rows of an entity through "
            "app.core.ledger.record.record, others in app.core.ledger.unit.unit_of_work."
        )


def _is_recorded(unit_id: str) -> bool:
    """Whether the unit's COMMIT came through."""
    operation_id = db.session.scalar(select(LedgerOperation.id).where(LedgerOperation.unit_id == unit_id).limit(1))
    db.session.remove()
    return operation_id is not None


def is_repeatable(error: BaseException) -> bool:
    """Whether the same unit may succeed if it is run again from the start."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, RaceError | TimeoutError)
    if isinstance(error, IntegrityError):
        return is_twin(error)
    if error.connection_invalidated:
        return True
    state = _state(error)
    return is_unavailable(error) if state is None else state.startswith(REPEATABLE_STATES)


def has_waited_in_vain(error: BaseException) -> bool:
    """Whether somebody has kept a lock or all connections for as long as we wait for one (`database_seconds`)."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, TimeoutError)
    # SQLite has this very code only when the wait is over, and others of its kind at once.
    return _state(error) == LOCK_TIMEOUT or getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY


def is_outside_unit(error: BaseException) -> bool:
    """Whether PostgreSQL has refused to write outside a unit of work, where sessions only read."""
    return isinstance(error, DBAPIError) and _state(error) == READ_ONLY


def _state(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def is_twin(error: IntegrityError) -> bool:
    """Whether the ledger's own uniqueness was breached: the same operation, sent twice, has won elsewhere."""
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    return constraint == TWIN_CONSTRAINT or "ledger_operations.fingerprint" in str(error.orig)


def is_unavailable(error: DBAPIError) -> bool:
    """Whether SQLite cannot be read or written now, or the connection to PostgreSQL was never made."""
    code = primary_code(error.orig)
    return "connection" in str(error.orig) if code is None else code in UNAVAILABLE_CODES


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0][:200]
