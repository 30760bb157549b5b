"""The limits of failed sign-ins: for a network, and for an account over all networks (contract, section 1).

A try counts as failed before its password is looked at, so that tries at the same moment are counted, too. The count is
taken back if the try did not fail. Nothing that happens in other networks shuts a network out of an account.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

import limits
from flask import Flask, current_app, request
from limits import RateLimitItem
from limits.errors import ConfigurationError as LimitsError
from limits.errors import StorageError as StoreError
from limits.storage import Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter, RateLimiter

from app.config import Settings, current_settings, environment_name
from app.errors import ConfigurationError, RequestError, TryAgainError
from app.http.logs import log_security_event

logger = logging.getLogger(__name__)

#: The key of the limiter of failed sign-ins in `app.extensions`.
LIMITER = "fieldpost.login_limiter"

#: A network may fail this many times as often as one person, because a whole office may share it.
PEOPLE_BEHIND_A_NETWORK = 10

#: The tries on an account that each network still has in a window, once the account's limit is used up.
TRIES_OF_A_NETWORK = 5

#: How often the audit log is told that a limit is used up. A refusal costs a stranger nothing.
ONCE_AN_HOUR = limits.parse("1 per hour")

#: Seconds to wait for Redis, to connect and for an answer.
STORE_SECONDS = 2


class TooManyTriesError(RequestError):
    """A limit of failed sign-ins is used up."""

    status = 429
    code = "too_many_requests"
    error = "Too many failed sign-ins"
    message = "Wait for the time in Retry-After, then sign in again."
    retryable = True

    def __init__(self, retry_after: int = 1, *, is_new: bool = False) -> None:
        super().__init__(headers={"Retry-After": str(retry_after)})
        #: Whether this limit has refused nobody else for an hour.
        self.is_new = is_new


class _Limit(NamedTuple):
    rate: RateLimitItem
    #: The subject of a count: a name, and the account or the network or both.
    keys: tuple[str, ...]


def init_throttle(app: Flask, settings: Settings) -> None:
    """Open the store of the counts. Raises `ConfigurationError`."""
    for name in ("login_rate", "account_login_rate"):
        rate = getattr(settings, name)
        try:
            limits.parse(rate)
        except ValueError:
            raise ConfigurationError(
                f"{environment_name(name)}={rate!r} is no rate. Use words like `10 per minute`, or unset it."
            ) from None
    # Called by the routes that need it; an extension would check at every request.
    app.extensions[LIMITER] = FixedWindowRateLimiter(_open_store(settings.rate_limit_storage))


def _open_store(address: str) -> Storage:
    """The store in which failed sign-ins are counted."""
    kind = address.partition(":")[0]
    timeouts = {"socket_connect_timeout": STORE_SECONDS, "socket_timeout": STORE_SECONDS}
    with suppress(LimitsError, ValueError):
        store = storage_from_string(
            address, wrap_exceptions=True, **(timeouts if kind in {"redis", "rediss", "redis+unix"} else {})
        )
        # Stores for asyncio are of another class.
        if isinstance(store, Storage):
            return store
    # The message leaves out the address, which may contain a password.
    raise ConfigurationError(
        f"FIELDPOST_RATE_LIMIT_STORAGE cannot be used: {kind!r} is unknown, or its package is not installed. "
        'Set it to redis://host:6379 and run pip install "fieldpost[redis]", or unset it.'
    )


def check_store() -> None:
    """Raise an error if failed sign-ins cannot be counted at present, so that nobody can sign in."""
    if not _limiter().storage.check():
        raise StoreError(ConnectionError("the store of FIELDPOST_RATE_LIMIT_STORAGE does not answer"))


@contextmanager
def counted(email: str, failure: type[RequestError]) -> Iterator[None]:
    """Count a try on the account `email` if the block raises a `failure`, and no other try.

    Raises `TooManyTriesError` before the block if a limit is used up, and `TryAgainError` if the store is away.
    """
    groups = _groups(email, network_of(request.remote_addr or "unknown"))
    try:
        _count(groups)
    except StoreError as error:
        logger.error("unavailable: the store of failed sign-ins", exc_info=error)
        raise TryAgainError("Nobody can sign in right now") from None
    try:
        yield
    except failure:
        raise
    except BaseException:
        _take_back(groups)
        raise
    _take_back(groups)


def network_of(address: str) -> str:
    """The network in which somebody may choose addresses: an IPv4 address alone, or the /64 of an IPv6 address."""
    with suppress(ValueError):
        parsed = ip_address(address)
        if not isinstance(parsed, IPv6Address):
            return str(parsed)
        return str(parsed.ipv4_mapped or IPv6Network((int(parsed), 64), strict=False))
    return address


_Groups = Sequence[Sequence[_Limit]]


def _groups(email: str, network: str) -> _Groups:
    """The limits of a try. It is refused if every limit of one of these groups is used up."""
    settings = current_settings()
    rate, account_rate = limits.parse(settings.login_rate), limits.parse(settings.account_login_rate)
    office = type(rate)(rate.amount * PEOPLE_BEHIND_A_NETWORK, rate.multiples)
    remainder = type(account_rate)(TRIES_OF_A_NETWORK, account_rate.multiples)
    return (
        [_Limit(rate, ("login", network, email))],
        [_Limit(office, ("login", network))],
        [_Limit(account_rate, ("account", email)), _Limit(remainder, ("account", network, email))],
    )


def _count(groups: _Groups) -> None:
    """Count a try in every limit. Raises `TooManyTriesError`, and then nothing is counted."""
    limiter = _limiter()
    rooms = [[limiter.hit(limit.rate, *limit.keys) for limit in group] for group in groups]
    refusing = [group for group, room in zip(groups, rooms, strict=True) if not any(room)]
    if not refusing:
        return
    wait = max(min(map(_seconds_left, group)) for group in refusing)
    _take_back(groups)
    keys = refusing[0][0].keys
    log_security_event("sign-in throttled", limit=keys[0])
    raise TooManyTriesError(wait, is_new=limiter.hit(ONCE_AN_HOUR, "refused", *keys))


def _seconds_left(limit: _Limit) -> int:
    wait = round(_limiter().get_window_stats(limit.rate, *limit.keys).reset_time - time.time())
    # The limiter knows only the time of day. Nobody waits longer than the window, even if the clock was set.
    return min(max(1, wait), limit.rate.get_expiry())


def _take_back(groups: _Groups) -> None:
    """Undo a count. If the window has ended meanwhile, the next one has a try more."""
    try:
        for limit in (limit for group in groups for limit in group):
            _limiter().hit(limit.rate, *limit.keys, cost=-1)
    except StoreError as error:
        # The try itself is decided; its count ends with the window.
        logger.warning("a sign-in stays counted as failed", exc_info=error)


def _limiter() -> RateLimiter:
    limiter: RateLimiter = current_app.extensions[LIMITER]
    return limiter
