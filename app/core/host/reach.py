"""Effects of a plugin's blueprint beyond its own routes, for `plugins check`.

A blueprint runs in the server's process, and Flask lets it do anything to the application. Nothing can stop it, but
the operator can know of it before the server is started.
"""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask
from werkzeug.exceptions import HTTPException

#: The application's lists of functions for all requests -> when they run.
HOOKS = {
    "before_request_funcs": "before each request",
    "after_request_funcs": "after each request",
    "teardown_request_funcs": "at the end of each request",
}

#: An address that no route is meant for.
NOBODYS = "/no-such-address/at/all"


class Reach:
    """The parts of an application that a blueprint may change, as they are before it is mounted."""

    def __init__(self, app: Flask, prefix: str) -> None:
        """`prefix`: of the addresses of all routes."""
        self._app = app
        self._nobodys = prefix + NOBODYS
        self._hooks = {name: self._hooks_of(name) for name in HOOKS}
        self._views = dict(app.view_functions)
        self._errors = self._error_handlers()
        self._server = app.wsgi_app
        self._catch_all = self._rule_for(self._nobodys)

    def told(self) -> Iterator[str]:
        """A sentence for each part that has changed."""
        for name, when in HOOKS.items():
            if set(self._hooks_of(name)) - set(self._hooks[name]):
                yield f"Runs code {when} to any route."
            if set(self._hooks[name]) - set(self._hooks_of(name)):
                yield f"Takes away code that ran {when}, such as the sign-in guard."
        for endpoint, view in self._views.items():
            if self._app.view_functions.get(endpoint) is not view:
                yield f"Replaces the view {endpoint}."
        if self._error_handlers() - self._errors:
            yield "Answers errors of any route."
        if self._app.wsgi_app != self._server:
            yield "Wraps the whole server."
        rule = self._rule_for(self._nobodys)
        if rule != self._catch_all:
            yield f"Answers all addresses that nobody else answers: {rule}."

    def _hooks_of(self, name: str) -> list[object]:
        return list(getattr(self._app, name).get(None, ()))

    def _error_handlers(self) -> set[object]:
        handlers = self._app.error_handler_spec.get(None, {})
        return {function for by_kind in handlers.values() for function in by_kind.values()}

    def _rule_for(self, address: str) -> str | None:
        """The rule that answers an address, if there is one."""
        try:
            rule, _ = self._app.url_map.bind("localhost").match(address, method="GET", return_rule=True)
        except HTTPException:
            return None
        return rule.rule
