"""Who may open a page: a session cookie through Flask-Login, and the form's token (contract, section 11).

The cookie names the sign-in of a browser, which is looked up at every request. It is not read for the API, and no page
looks at a bearer token.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import cache
from importlib import import_module
from typing import Any

from flask import Flask, Request, Response, current_app, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask_login import LoginManager, UserMixin, current_user, login_user
from werkzeug.datastructures import MultiDict

from app.accounts.sign_ins import BrowserSignIn, browser_sign_in
from app.config import Settings, current_settings
from app.errors import ForbiddenError, InvalidError, MediaTypeError
from app.http.logs import log_security_event
from app.http.requests import MOST_PUBLIC_FIELDS
from app.pages.addresses import is_for_machines, is_page

#: Methods that never change anything, so that another site may bring a browser to use them.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

#: Addresses of the core beside the API that machines ask for.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})

#: Characters of an address to which people come back after the sign-in. No page of ours has a longer one, and to write
#: one into another address takes many times its bytes.
LONGEST_RETURN = 2_000

#: The field of a form, and the header of a script, that carry the form's token.
TOKEN_FIELD, TOKEN_HEADER = "csrf_token", "X-CSRFToken"


class PageSessions(SecureCookieSessionInterface):
    """The session cookie. It is bound to this host where the browser came over https (RFC 6265bis)."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """The session of a request for a page. Machines have none: their requests neither read nor set a cookie."""
        if is_for_machines(request.path) or request.path in PROBES:
            return None
        return super().open_session(app, request)

    def get_cookie_name(self, app: Flask) -> str:
        """`__Host-fieldpost` over https, otherwise `fieldpost`."""
        return "__Host-fieldpost" if request.is_secure else "fieldpost"

    def get_cookie_secure(self, app: Flask) -> bool:
        """Whether the browser may send it over https alone."""
        return request.is_secure


class Visitor(UserMixin):  # type: ignore[misc]
    """A signed-in browser, as Flask-Login knows one."""

    def __init__(self, sign_in: BrowserSignIn) -> None:
        self.sign_in = sign_in

    def get_id(self) -> str:
        """The id of the sign-in, which the cookie carries; the user's own would outlive the sign-in."""
        return self.sign_in.id


def init_door(app: Flask, settings: Settings) -> None:
    """Set up the cookie, Flask-Login and the guard of all pages."""
    app.config.update(
        SECRET_KEY=_cookie_key(settings.secret_key),
        SECRET_KEY_FALLBACKS=[_cookie_key(key) for key in (settings.secret_key_previous,) if key],
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        # The session ends sooner than this; people may take their time for a form.
        WTF_CSRF_TIME_LIMIT=None,
    )
    app.session_interface = PageSessions()
    manager = LoginManager()
    # Phones change their networks, and their browsers are updated, in the middle of a day's work.
    manager.session_protection = None
    manager.init_app(app, add_context_processor=False)
    manager.user_loader(_visitor_of)
    app.before_request(_guard)


def _cookie_key(key: str) -> str:
    """A key for cookies alone, so that nothing that one key has signed counts elsewhere."""
    return hmac.new(key.encode(), b"fieldpost cookies", hashlib.sha256).hexdigest()


def _visitor_of(sign_in_id: str) -> Visitor | None:
    sign_in = browser_sign_in(sign_in_id)
    return None if sign_in is None else Visitor(sign_in)


def visitor() -> Visitor | None:
    """The signed-in browser of this request, if there is one."""
    present = current_user._get_current_object()
    # A plugin may have put another login manager in the place of ours.
    return present if isinstance(present, Visitor) else None


def let_in(sign_in_id: str) -> None:
    """Give the browser the cookie of a new sign-in. Nothing of its former session stays, its form token included."""
    session.clear()
    sign_in = _visitor_of(sign_in_id)
    if sign_in is not None:
        login_user(sign_in)


def form_token() -> str:
    """The token that each form of this session sends along."""
    token: str = _csrf().generate_csrf()
    return token


def _guard() -> Any:
    """Refuse forged requests, and lead browsers without a sign-in to the sign-in page."""
    if not is_page(request):
        return None
    is_public = getattr(current_app.view_functions[request.endpoint or ""], "is_public", False)
    present = None if is_public else visitor()
    if present is None and not is_public:
        # Its form stays unread: it takes many times the memory of its bytes.
        return _to_sign_in()
    settings = current_settings()
    request.max_content_length = settings.max_public_bytes if present is None else settings.max_batch_bytes
    # A form may have as much text as a batch.
    request.max_form_memory_size = request.max_content_length
    if present is None:
        request.max_form_parts = MOST_PUBLIC_FIELDS
        _refuse_parts()
    if request.method not in SAFE_METHODS:
        _refuse_forgery()
        _refuse_nuls(request.form)
    _refuse_nuls(request.args)
    if present is not None:
        g.user, g.sign_in_id, g.device_id = present.sign_in.user, present.sign_in.id, None
    return None


def _refuse_parts() -> None:
    """415 for a form in parts, as one with files is. Each part takes much time for its bytes."""
    if request.mimetype == "multipart/form-data":
        raise MediaTypeError(message="Load the page again, and send the form from there.")


def _refuse_nuls(fields: MultiDict[str, str]) -> None:
    """400 for a text with a NUL, which PostgreSQL takes in no text, and no keyboard makes."""
    if any("\0" in text for pair in fields.items(multi=True) for text in pair):
        raise InvalidError(message="A field has a NUL character, which cannot be stored. Remove it.")


def _to_sign_in() -> Response:
    address = request.full_path.rstrip("?") if request.method == "GET" and request.path != "/" else None
    if address is not None and len(address) > LONGEST_RETURN:
        address = None
    return redirect(url_for("sign_in.show", next=address), 303)  # type: ignore[return-value]


def _refuse_forgery() -> None:
    """403 for a request that a page of ours did not make: another site's, or one without the form's token."""
    try:
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise ValueError("another site")
        _csrf().validate_csrf(request.form.get(TOKEN_FIELD) or request.headers.get(TOKEN_HEADER))
    except ValueError as error:
        log_security_event("form refused", reason=str(error), path=request.path[:200])
        raise ForbiddenError(
            "This form can no longer be sent",
            "Nothing was changed. Go back, load the page again, and send the form from there.",
        ) from None


@cache
def _csrf() -> Any:
    """Flask-WTF's form tokens, loaded when a page is first shown: most workers serve the API alone."""
    return import_module("flask_wtf.csrf")
