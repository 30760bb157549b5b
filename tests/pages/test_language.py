"""The language of a page is the one that the browser prefers, English or Spanish."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, render_template_string

from app.pages import gettext, ngettext
from app.pages.language import FROM_THE_API
from app.testing import World
from tests.guards.sources import ROOT
from tests.pages.browser import Browser, signed_in_browser

SPANISH = {"Accept-Language": "es-MX,es;q=0.9,en;q=0.5"}


@pytest.fixture
def in_spanish(app: Flask) -> Iterator[None]:
    with app.test_request_context(headers=SPANISH):
        yield


def test_the_sign_in_page_is_in_the_language_that_the_browser_prefers(app: Flask, world: World) -> None:
    world.user()
    browser = Browser(app)
    page = browser.get("/sign-in", SPANISH).text
    assert '<html lang="es">' in page
    assert "Iniciar sesión</h1>" in page
    assert '<label class="form-label" for="password">Contraseña</label>' in page
    for other in ({}, {"Accept-Language": "fr"}, {"Accept-Language": "en,es;q=0.9"}):
        page = browser.get("/sign-in", other).text
        assert '<html lang="en">' in page
        assert "Sign in</h1>" in page


def test_a_refusal_is_told_in_spanish(app: Flask, world: World) -> None:
    world.user()
    browser = Browser(app)
    answer = browser.send("/sign-in", "/sign-in", {"email": "nobody@example.com", "password": "x"}, SPANISH)
    assert answer.status_code == 422
    assert "El correo electrónico o la contraseña no son correctos." in answer.text


def test_faults_and_errors_of_the_api_are_told_in_spanish(app: Flask, world: World) -> None:
    browser = signed_in_browser(app, world.user())
    values = {
        "current_password": "wrong",
        "new_password": "three words apart",
        "repeated_password": "three words apart",
    }
    answer = browser.send("/my-account", "/my-account/password", values, SPANISH)
    assert answer.status_code == 422
    assert "Esta no es su contraseña." in answer.text
    lost = browser.get("/console/nowhere", SPANISH)
    assert lost.status_code == 404
    assert "Compruebe la dirección." in lost.text
    assert '<html lang="es">' in lost.text


def test_the_menu_and_the_pages_of_a_plugin_are_in_spanish(app: Flask, world: World) -> None:
    page = signed_in_browser(app, world.user(role="admin")).get("/console/inspections", SPANISH).text
    for label in ("Hoy", "Inspecciones", "Dispositivos", "Usuarios", "Complementos"):
        assert f">{label}</a>" in page, label
    assert "Todavía no hay ninguna inspección que usted pueda ver." in page


def test_a_text_that_no_catalogue_has_stays_as_it_is_written(in_spanish: None) -> None:
    assert gettext("A text of %(somebody)s", somebody="Ada") == "A text of Ada"
    assert ngettext("%(num)s stray text", "%(num)s stray texts", 2) == "2 stray texts"
    assert render_template_string('{{ _("A stray text") }}') == "A stray text"


def test_one_and_many_have_forms_of_their_own(in_spanish: None) -> None:
    said = [ngettext("%(num)s form", "%(num)s forms", number) for number in (0, 1, 2)]
    assert said == ["0 formularios", "1 formulario", "2 formularios"]


def test_what_is_put_into_a_translated_text_is_no_markup(in_spanish: None) -> None:
    page = render_template_string('{{ _("App on the device %(device)s", device=name) }}', name="<b>")
    assert page == "Aplicación en el dispositivo &lt;b&gt;"


def test_the_texts_of_the_api_that_are_translated_are_those_that_it_says() -> None:
    said = "".join(path.read_text() for path in sources_of_the_api())
    assert [text for text in FROM_THE_API if f'"{text}"' not in said] == []


def sources_of_the_api() -> Iterator[Path]:
    return (path for path in (ROOT / "app").rglob("*.py") if path.name != "language.py")
