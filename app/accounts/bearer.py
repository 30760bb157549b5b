"""What a bearer token says: signed, with its place in a sign-in's family. Flask-JWT-Extended does the token work."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from flask import Flask, Request, jsonify
from flask_jwt_extended import JWTManager, create_access_token, create_refresh_token, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt.exceptions import PyJWTError

from app.clock import now
from app.config import Settings, current_settings
from app.errors import UnauthorizedError

ACCESS, REFRESH = "access", "refresh"


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """What a token says about itself; `app.accounts.tokens` knows what it is still worth."""

    user_id: int
    sign_in_id: str
    #: How many refreshes lie between the sign-in and this token.
    generation: int
    #: Which of the pairs of this generation it belongs to: each repeated refresh issues another.
    attempt: int


def init_bearer(app: Flask, settings: Settings) -> None:
    """Tell Flask-JWT-Extended our keys, and to answer every fault of a token with 401 (trap 13)."""
    app.config.update(
        JWT_SECRET_KEY=settings.secret_key,
        JWT_ALGORITHM="HS256",
        JWT_ENCODE_NBF=False,
        JWT_COOKIE_CSRF_PROTECT=False,
        # Times are judged by the application's clock. A node whose clock is a second behind would else refuse tokens
        # that another has just issued.
        JWT_DECODE_LEEWAY=timedelta(days=36500),
    )
    jwt = JWTManager(app)
    jwt.decode_key_loader(_key_of)
    # Our own routes read tokens with `read_token`; these answer for a plugin that uses the extension's decorators.
    loaders: tuple[Callable[[Any], Any], ...] = (
        jwt.unauthorized_loader,
        jwt.invalid_token_loader,
        jwt.expired_token_loader,
        jwt.revoked_token_loader,
        jwt.needs_fresh_token_loader,
        jwt.user_lookup_error_loader,
        jwt.token_verification_failed_loader,
    )
    for loader in loaders:
        loader(_answer_fault)


def _answer_fault(*_: object) -> tuple[Any, int, dict[str, str]]:
    fault = UnauthorizedError("token_invalid", "Sign in again.")
    return jsonify(fault.body(None)), fault.status, fault.headers


def bearer_token(request: Request) -> str:
    """The token of the Authorization header. Raises `UnauthorizedError` with `token_missing`."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthorizedError("token_missing", "Send `Authorization: Bearer <access token>`.")
    return token.strip()


def make_tokens(claims: Claims) -> dict[str, Any]:
    """`{"access_token", "refresh_token", "token_type", "expires_in"}` with what `claims` says; periods in seconds."""
    settings, subject = current_settings(), str(claims.user_id)
    access_life = timedelta(seconds=settings.access_token_seconds)
    refresh_life = timedelta(days=settings.refresh_token_days)
    headers = {"kid": _key_id(settings.secret_key)}
    return {
        "access_token": create_access_token(
            subject, additional_claims=_extra_claims(claims, access_life), additional_headers=headers
        ),
        "refresh_token": create_refresh_token(
            subject, additional_claims=_extra_claims(claims, refresh_life), additional_headers=headers
        ),
        "token_type": "Bearer",
        "expires_in": settings.access_token_seconds,
    }


def _extra_claims(claims: Claims, life: timedelta) -> dict[str, Any]:
    """The extension would take the machine's time; ours is the application's clock, with its milliseconds."""
    moment = now()
    return {
        "sid": claims.sign_in_id,
        "gen": claims.generation,
        "att": claims.attempt,
        "iat": moment.timestamp(),
        "exp": (moment + life).timestamp(),
    }


def read_token(encoded: str, kind: str) -> Claims:
    """The claims of a token of this `kind` that we signed. Raises `UnauthorizedError`: token_invalid, token_expired."""
    settings = current_settings()
    try:
        found = _verified(encoded, settings.secret_key, settings.secret_key_previous)
        claims = Claims(
            user_id=int(found["sub"]),
            sign_in_id=str(found["sid"]),
            generation=int(found["gen"]),
            attempt=int(found["att"]),
        )
        expiry = float(found["exp"])
    except (PyJWTError, JWTExtendedException, KeyError, ValueError, TypeError):
        raise UnauthorizedError("token_invalid", "This is not a token of this server. Sign in again.") from None
    if found["type"] != kind:
        raise UnauthorizedError(
            "token_invalid", f"Send the {kind} token here; this is the {ACCESS if kind == REFRESH else REFRESH} token."
        )
    if expiry <= now().timestamp():
        advice = "Refresh it with POST /api/v1/auth/refresh." if kind == ACCESS else "Sign in again."
        raise UnauthorizedError("token_expired", f"The {kind} token has expired. {advice}")
    return claims


@lru_cache(maxsize=4096)
def _verified(encoded: str, _key: str, _previous_key: str) -> Mapping[str, Any]:
    """What a token says, if one of the keys has signed it; when it expires is judged by the application's clock.

    A device sends the same token with every request of an hour, and what it says does not change.
    """
    return decode_token(encoded, allow_expired=True)


def _key_of(header: dict[str, Any], _claims: dict[str, Any]) -> str:
    """The key that a token names: the present one, or the previous one while it is being changed."""
    settings = current_settings()
    previous = settings.secret_key_previous
    return previous if previous and header.get("kid") == _key_id(previous) else settings.secret_key


def _key_id(key: str) -> str:
    """A name for a key that tells nothing about it: the keys have at least 256 bits."""
    return hashlib.sha256(b"fieldpost key id " + key.encode()).hexdigest()[:16]
