"""Bearer tokens: signed claims about a user and a sign-in. PyJWT signs them, and checks signatures.

The claims are read and checked here, because no time in them is compared with the machine's: `read_token` compares the
expiry with the application's clock. Otherwise a node whose clock is a second behind would refuse tokens that another
node has just issued.

Flask-JWT-Extended knows our keys as well, for plugins that use its decorators. Its own functions take several times as
long, and complete a token that lacks claims.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from uuid import uuid4

import orjson
from flask import Flask, Request, Response, jsonify
from flask_jwt_extended import JWTManager
from jwt import PyJWS, PyJWTError
from jwt.algorithms import HMACAlgorithm

from app.clock import now
from app.config import Settings, current_settings
from app.core.values import JsonObject
from app.errors import UnauthorizedError

ACCESS, REFRESH = "access", "refresh"

ALGORITHM = "HS256"

#: Characters of a token; ours have half of them. Its parts are read before its signature is, and JSON of empty objects
#: takes twenty times the memory of its bytes.
LONGEST_TOKEN = 1024

#: The subject of a token: a user's id.
SUBJECT = re.compile(r"[0-9]{1,16}", re.ASCII)


class _KnownKeys(HMACAlgorithm):
    """HS256. PyJWT looks at each use of a key whether it is one of another algorithm; here at the first use."""

    _prepared = staticmethod(lru_cache(maxsize=16)(HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key))

    def prepare_key(self, key: str | bytes) -> bytes:
        """The key's bytes. Raises `InvalidKeyError`."""
        return self._prepared(key)


_signatures = PyJWS(algorithms=[])
_signatures.register_algorithm(ALGORITHM, _KnownKeys(HMACAlgorithm.SHA256))


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """The claims of a token. `app.accounts.tokens` knows whether they are still valid."""

    user_id: int
    sign_in_id: str
    #: The token's own id. That of a refresh token is the id of a `RefreshToken`.
    token_id: str


def init_bearer(app: Flask, settings: Settings) -> None:
    """Give Flask-JWT-Extended our keys, and answer every fault of a token with 401 (trap 13)."""
    app.config.update(
        JWT_SECRET_KEY=settings.secret_key,
        JWT_ALGORITHM=ALGORITHM,
        JWT_ENCODE_NBF=False,
        JWT_COOKIE_CSRF_PROTECT=False,
        # Its clock is the machine's: see the head of this module.
        JWT_DECODE_LEEWAY=timedelta(days=36500),
    )
    extension = JWTManager(app)
    extension.decode_key_loader(_key_of)
    # Our own routes use `read_token`. These answer for plugins that use the extension's decorators.
    loaders: tuple[Callable[[Callable[..., object]], object], ...] = (
        extension.unauthorized_loader,
        extension.invalid_token_loader,
        extension.expired_token_loader,
        extension.revoked_token_loader,
        extension.needs_fresh_token_loader,
        extension.user_lookup_error_loader,
        extension.token_verification_failed_loader,
    )
    for loader in loaders:
        loader(_answer_fault)


def _answer_fault(*_: object) -> tuple[Response, int, dict[str, str]]:
    fault = UnauthorizedError("token_invalid", "Sign in again.")
    return jsonify(fault.body(None)), fault.status, fault.headers


def bearer_token(request: Request) -> str:
    """The token of the Authorization header. Raises `UnauthorizedError` with `token_missing`."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthorizedError("token_missing", "Send `Authorization: Bearer <access token>`.")
    return token.strip()


def make_tokens(claims: Claims) -> JsonObject:
    """`{"access_token", "refresh_token", "token_type", "expires_in"}` with the claims of the refresh token.

    The access token gets an id of its own. `expires_in` is in seconds.
    """
    settings, moment = current_settings(), now()
    access_end = moment + timedelta(seconds=settings.access_token_seconds)
    refresh_end = moment + timedelta(days=settings.refresh_token_days)
    return {
        "access_token": _signed(replace(claims, token_id=str(uuid4())), ACCESS, moment, access_end),
        "refresh_token": _signed(claims, REFRESH, moment, refresh_end),
        "token_type": "Bearer",
        "expires_in": settings.access_token_seconds,
    }


def _signed(claims: Claims, kind: str, moment: datetime, end: datetime) -> str:
    """A token from `moment` to `end`, with the claims that Flask-JWT-Extended asks for, and the sign-in."""
    key = current_settings().secret_key
    payload = {
        "fresh": False,
        "iat": moment.timestamp(),
        "jti": claims.token_id,
        "type": kind,
        "sub": str(claims.user_id),
        "sid": claims.sign_in_id,
        "exp": end.timestamp(),
    }
    return _signatures.encode(orjson.dumps(payload), key, ALGORITHM, headers={"kid": _key_id(key)})


def read_token(encoded: str, kind: str) -> Claims:
    """The claims of a token of `kind` that we signed. Raises `UnauthorizedError`: token_invalid, token_expired."""
    settings = current_settings()
    try:
        if len(encoded) > LONGEST_TOKEN:
            raise ValueError("It is longer than any of ours.")
        payload = _verified(encoded, settings.secret_key, settings.secret_key_previous)
        claims = Claims(user_id=int(payload["sub"]), sign_in_id=str(payload["sid"]), token_id=str(payload["jti"]))
        expiry = float(payload["exp"])
    except (PyJWTError, KeyError, ValueError, TypeError):
        raise UnauthorizedError("token_invalid", "This is not a token of this server. Sign in again.") from None
    if payload["type"] != kind:
        raise UnauthorizedError(
            "token_invalid", f"Send the {kind} token here; this is the {ACCESS if kind == REFRESH else REFRESH} token."
        )
    if expiry <= now().timestamp():
        advice = "Refresh it with POST /api/v1/auth/refresh." if kind == ACCESS else "Sign in again."
        raise UnauthorizedError("token_expired", f"The {kind} token has expired. {advice}")
    return claims


@lru_cache(maxsize=4096)
def _verified(encoded: str, present_key: str, previous_key: str) -> JsonObject:
    """The payload of a token that one of the keys has signed, whether it has expired or not.

    Cached, because a device sends the same token with every request of an hour.
    """
    key = _key_of(_signatures.get_unverified_header(encoded), {}) if previous_key else present_key
    payload: JsonObject = orjson.loads(_signatures.decode_complete(encoded, key, [ALGORITHM])["payload"])
    if not all(isinstance(payload[name], str) for name in ("type", "jti")) or not SUBJECT.fullmatch(payload["sub"]):
        raise ValueError("a claim is of another kind")
    if "aud" in payload:
        # RFC 7519, section 4.1.3.
        raise ValueError("it is for somebody else")
    return payload


def _key_of(header: JsonObject, _claims: JsonObject) -> str:
    """The key that a token's header names: the present key, or the previous one while keys are being changed."""
    settings = current_settings()
    previous = settings.secret_key_previous
    return previous if previous and header.get("kid") == _key_id(previous) else settings.secret_key


@lru_cache(maxsize=16)
def _key_id(key: str) -> str:
    """A name for a key that reveals nothing about it: keys have at least 256 bits."""
    return hashlib.sha256(b"fieldpost key id " + key.encode()).hexdigest()[:16]
