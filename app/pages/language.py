"""The language of a page: texts in templates go through gettext, with the catalogues of the core and of each plugin.

A catalogue is `locale/<language>/LC_MESSAGES/messages.mo`, in `app/pages` and beside the blueprint of a plugin's pages.
A text that no catalogue has stays as it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from gettext import NullTranslations, translation
from pathlib import Path
from typing import Any

from flask import Flask, current_app, has_request_context, request
from markupsafe import Markup
from werkzeug.datastructures import LanguageAccept

from app.core.host.registry import current_registry

#: The languages of the pages. Texts are written in the first.
LANGUAGES = ("en", "es")

#: Where the application keeps what was read: language -> texts.
CATALOGUES = "fieldpost.catalogues"


def stated(text: str) -> str:
    """A text that is said elsewhere, in English, and shown by pages. Naming it here puts it into the catalogue."""
    return text


#: Errors and faults of the API that people meet on pages.
FROM_THE_API = frozenset(
    {
        stated("Not found"),
        stated("Forbidden"),
        stated("Ask an administrator for the rights, or work on an inspection that is yours."),
        stated("This form can no longer be sent"),
        stated("Nothing was changed. Go back, load the page again, and send the form from there."),
        stated("The request is too large"),
        stated("The server cannot do this right now"),
        stated("Too many failed sign-ins"),
        stated("This is not your password."),
        stated("This password is easy to guess. Take three or four words that do not belong together."),
    }
)


def init_language(app: Flask) -> None:
    """Let templates say `_("…")`, `ngettext` and `{% trans %}`."""
    app.extensions[CATALOGUES] = {}
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.newstyle_gettext = True  # type: ignore[attr-defined]
    # Jinja's own functions would look each text up through three calls.
    app.jinja_env.globals.update(_=_shown, gettext=_shown, ngettext=_shown_of_number, language=language)


def language() -> str:
    """The language of this request, among `LANGUAGES`: the one that the browser prefers."""
    return _best(request.accept_languages) if has_request_context() else LANGUAGES[0]


def functions_of_page() -> dict[str, Callable[..., Markup]]:
    """`_` and `gettext` for a template that is rendered now: a list says hundreds of texts in one language."""
    shown = partial(_shown_from, _catalogue(language()))
    return {"_": shown, "gettext": shown}


def gettext(message: str, **values: Any) -> str:
    """The text in the language of this request, with `values` in its places: `%(name)s`."""
    return _gettext(message) % values if values else _gettext(message)


def ngettext(one: str, many: str, number: int, **values: Any) -> str:
    """The text for this number of things, `%(num)s` among its places."""
    return _ngettext(one, many, number) % {"num": number, **values}


def translated(faults: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Faults of a form's fields, as the API states them, in the language of this request."""
    return {field: [gettext(text) for text in texts] for field, texts in faults.items()}


@lru_cache(maxsize=64)
def _best(accepted: LanguageAccept) -> str:
    return accepted.best_match(LANGUAGES) or LANGUAGES[0]


def _shown(message: str, **values: Any) -> Markup:
    """A text in a template, with escaped `values` in its places."""
    return _shown_from(_catalogue(language()), message, **values)


def _shown_from(catalogue: NullTranslations, message: str, /, **values: Any) -> Markup:
    return _markup(catalogue, message) % values if values else _without_places(catalogue, message)


def _shown_of_number(one: str, many: str, num: int, **values: Any) -> Markup:
    """The text for this number of things in a template."""
    return Markup(_ngettext(one, many, num)) % {"num": num, **values}


@lru_cache(maxsize=4096)
def _without_places(catalogue: NullTranslations, message: str) -> Markup:
    # A per cent sign is written twice, as in a text with places.
    return _markup(catalogue, message) % {}


def _markup(catalogue: NullTranslations, message: str) -> Markup:
    return Markup(catalogue.gettext(message) if message else "")


def _gettext(message: str) -> str:
    return _catalogue(language()).gettext(message) if message else ""


def _ngettext(one: str, many: str, number: int) -> str:
    return _catalogue(language()).ngettext(one, many, number)


def _catalogue(chosen: str) -> NullTranslations:
    """All texts of a language: the core's, and behind them those of plugins. Read when they are first needed."""
    catalogues: dict[str, NullTranslations] = current_app.extensions[CATALOGUES]
    if chosen not in catalogues:
        catalogue = NullTranslations()
        for place in _places():
            catalogue.add_fallback(translation("messages", place, [chosen], fallback=True))
        catalogues[chosen] = catalogue
    return catalogues[chosen]


def _places() -> list[Path]:
    pages = [plugin.pages for _, plugin in sorted(current_registry().plugins.items())]
    roots = [Path(page.blueprint.root_path) for page in pages if page is not None]
    return [root / "locale" for root in (Path(__file__).parent, *roots)]
