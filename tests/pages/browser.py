"""A browser, as the server sees one: it keeps its cookie, and sends forms as the page made them."""

from __future__ import annotations

from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any, TypeAlias

from flask import Flask, session
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.accounts.sign_ins import start_browser_sign_in
from app.core.database.engine import db
from app.models import User
from app.pages.door import let_in
from tests.conftest import PASSWORD

#: What a person types into a form.
Fields: TypeAlias = Mapping[str, Any] | None

#: Further headers of a request, or others than usual.
Headers: TypeAlias = Mapping[str, str] | None

#: What every browser of today sends along.
HEADERS = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Site": "same-origin"}


class Form(HTMLParser):
    """The fields of a page's form that leads to `action`, with their present values."""

    def __init__(self, page: str, action: str) -> None:
        super().__init__()
        #: A text, or of several ticked boxes of one name a list of texts.
        self.fields: dict[str, Any] = {}
        self._action, self._is_inside = action, False
        #: The choice, or the field of several lines, that is being read.
        self._choice = self._lines = ""
        self.is_there = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the fields between the form's tags."""
        values = dict(attrs)
        if tag == "form":
            self._is_inside = values.get("action") == self._action
            self.is_there = self.is_there or self._is_inside
        elif self._is_inside and tag == "option":
            if self._choice not in self.fields or "selected" in values:
                self.fields[self._choice] = values.get("value") or ""
        elif self._is_inside and values.get("name"):
            name = str(values["name"])
            if tag == "select":
                self._choice = name
            elif values.get("type") == "checkbox":
                self._note_box(name, values)
            else:
                self.fields[name] = values.get("value") or ""
            self._lines = name if tag == "textarea" else ""

    def _note_box(self, name: str, values: Mapping[str, str | None]) -> None:
        """Note a box if it is ticked, as browsers do."""
        if "checked" in values:
            before = self.fields.get(name)
            value = values.get("value") or "on"
            self.fields[name] = value if before is None else [*([before] if isinstance(before, str) else before), value]

    def handle_data(self, data: str) -> None:
        """Note the text of a field of several lines, without the line break that browsers leave out."""
        if self._lines:
            self.fields[self._lines] += data.removeprefix("\n")

    def handle_endtag(self, tag: str) -> None:
        """Note where such a field ends."""
        if tag == "textarea":
            self._lines = ""


class Browser:
    """One browser of one person."""

    def __init__(self, app: Flask, base_url: str = "http://localhost") -> None:
        self.client: FlaskClient = app.test_client()
        self.base_url = base_url

    def get(self, address: str, headers: Headers = None) -> TestResponse:
        """Follow a link, or type an address, and take the answer to its end."""
        headers = HEADERS | dict(headers or {})
        return self.client.get(address, base_url=self.base_url, headers=headers, buffered=True)

    def send(self, page: str, action: str, values: Fields = None, headers: Headers = None) -> TestResponse:
        """Load a page, complete its form that leads to `action`, and send it."""
        form = Form(self.get(page).text, action)
        assert form.is_there, f"{page} has no form to {action}"
        return self.post(action, form.fields | dict(values or {}), headers)

    def post(self, action: str, values: Fields = None, headers: Headers = None) -> TestResponse:
        """Send a form with just these values."""
        return self.client.post(action, base_url=self.base_url, data=values, headers=HEADERS | dict(headers or {}))

    def sign_in(self, user: User, password: str = PASSWORD, **values: str) -> TestResponse:
        """Complete the sign-in page."""
        return self.send("/sign-in", "/sign-in", {"email": user.email, "password": password, **values})

    @property
    def is_signed_in(self) -> bool:
        """Whether *my account* opens."""
        return self.get("/my-account").status_code == 200


def signed_in_browser(app: Flask, user: User) -> Browser:
    """A browser with the cookie of a new sign-in of this user, who has filled in no form: tests of the door do that."""
    browser = Browser(app)
    place: dict[str, Any] = {"base_url": browser.base_url, "headers": HEADERS}
    with app.test_request_context(environ_base=browser.client.environ_base, **place):
        # None if the user has been changed since the test has read the row.
        sign_in_id = start_browser_sign_in(user) or start_browser_sign_in(db.session.get_one(User, user.id))
        assert sign_in_id is not None, f"{user.email} may not sign in"
        let_in(sign_in_id)
        values = {**session}
    with browser.client.session_transaction(**place) as kept:
        kept.update(values)
    return browser
