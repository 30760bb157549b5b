"""A decision about one item, as the form of its page says it: for conflicts and refused items alike."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from flask import Response, flash, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.administration.set_aside import Decision, decide, place_fields, without_private
from app.errors import ConflictError, InvalidError, NotFoundError, StaleError
from app.pages import gettext as _
from app.pages import render
from app.web import signed_in_user
from fieldpost_console.pages.private import asks_for_private, private_of_page
from fieldpost_console.pages.typed import flat_faults
from fieldpost_console.pages.undecided import Line, Subject, lines_of, subject_of, typed_again

#: The name of a field -> the reasons why its value cannot be taken.
Faults: TypeAlias = dict[str, list[str]]

#: Reads the form: the values that are not those sent, and the faults of fields whose values cannot be read.
Reader: TypeAlias = Callable[[list[Line]], tuple[dict[str, Any], Faults]]


class Refusal(NamedTuple):
    """Why a decision was not made: `invalid`, `stale`, `already_decided` or `refused`, with sentences and faults."""

    code: str
    error: str
    message: str
    faults: Faults

    @property
    def status(self) -> int:
        """The status of the page that says so."""
        return 422 if self.code in ("refused", "invalid") else 409


@dataclass(frozen=True, kw_only=True)
class ItemForm:
    """The form of a kind of items."""

    read: Reader
    #: The item's page, with the reason why nothing was done.
    page: Callable[[Subject, list[Line], Refusal | None], Response]
    #: The page that follows a decision, and what it says then.
    back: str
    done: str


def decide_by_form(key: str, form: ItemForm) -> BaseResponse:
    """Discard an item, or apply it with the form's values. If that fails, the page comes back with all that was typed.

    Raises `NotFoundError` and `ForbiddenError`.
    """
    is_discarding = request.form.get("decision") == "discard"
    refusal = _discard(key) if is_discarding else _apply(key, form.read)
    if refusal is not None:
        subject = subject_of(key)
        return form.page(subject, typed_again(lines_of(subject), refusal.faults), refusal)
    flash(_("The item is discarded. Its device is told at its next sync.") if is_discarding else form.done)
    return redirect(url_for(form.back), 303)


def given_reason(name: str = "reason") -> str | None:
    """The reason that the form gives; None: it gives none."""
    return request.form.get(name, "").strip()[:500] or None


def no_reason() -> Faults:
    """The fault of a form that discards without a reason."""
    return {"reason": [_("Say why, because its sender reads it.")]}


def render_item(template: str, subject: Subject, lines: list[Line], refusal: Refusal | None, **values: Any) -> Response:
    """The page of one item, with the form as it was filled in and the reason why nothing was done.

    Private values are hidden unless the reader has asked for them.
    """
    is_private = bool(subject.item["private"])
    if not asks_for_private():
        subject, lines = _without_private(subject, lines)
    return render(
        template,
        refusal.status if refusal else 200,
        subject=subject,
        lines=lines,
        private=private_of_page(),
        is_private=is_private,
        refusal=refusal,
        faults=refusal.faults if refusal else {},
        labels={line.label.name: line.label.label for line in lines},
        reason=request.form.get("reason", ""),
        why=request.form.get("why", ""),
        say=_,
        **values,
    )


def _without_private(subject: Subject, lines: list[Line]) -> tuple[Subject, list[Line]]:
    return subject._replace(item=without_private(subject.item)), [line.without_private for line in lines]


def _discard(key: str) -> Refusal | None:
    reason = given_reason()
    return _wrong(no_reason()) if reason is None else _decide(key, Decision(kind="discard", reason=reason))


def _apply(key: str, read: Reader) -> Refusal | None:
    subject = subject_of(key)
    if subject.item["item"] is None:
        raise NotFoundError("The item itself is not kept here", "Its device still has it.")
    values, faults = read(lines_of(subject))
    if faults:
        return _wrong(faults)
    changes = place_fields(subject.item, values) or None
    kind = "change" if changes else "apply"
    return _decide(key, Decision(kind=kind, changes=changes, version=_version(), reason=given_reason("why")))


def _wrong(faults: Faults) -> Refusal:
    """The refusal of a form that cannot be read."""
    return Refusal("invalid", "", "", faults)


def _decide(key: str, decision: Decision) -> Refusal | None:
    """Decide an item; returns why that was not done."""
    try:
        decide(signed_in_user(), key, decision)
    except (StaleError, ConflictError) as error:
        return Refusal(error.code, error.error, error.message, _faults_of(error.extra.get("details") or {}))
    return None


def _faults_of(details: Mapping[str, Any]) -> Faults:
    faults: Faults = {}
    for name, messages in flat_faults(details):
        faults.setdefault(name, []).extend(messages)
    return faults


def _version() -> dt.datetime | None:
    """The version that the form has seen. Raises `InvalidError`."""
    text = request.form.get("version", "")
    try:
        version = dt.datetime.fromisoformat(text) if text else None
    except ValueError:
        raise InvalidError() from None
    if version is not None and version.tzinfo is None:
        raise InvalidError()
    return version
