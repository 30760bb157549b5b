"""What stands in templates is escaped as Jinja does it, only quicker."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from flask import Flask, render_template_string
from jinja2.compiler import CodeGenerator
from markupsafe import Markup, escape

from app.pages import escaping
from app.pages.escaping import escaped


class Named(str):
    """A text of another type."""


class Drawn:
    """Something that has HTML of its own."""

    def __html__(self) -> str:
        return "<hr>"


class Written:
    """Something that is only a text once it is asked for it."""

    def __str__(self) -> str:
        return "<i>written</i>"


EVIL = """<script>"x"</script> & 'y'"""
VALUES = (EVIL, Named(EVIL), Markup("<b>bold</b>"), Drawn(), Written(), 7, 1.5, None, dt.date(2024, 3, 15), [EVIL])

#: Each way in which a template writes a value.
TEMPLATE = """
{%- macro own(value) %}<p title="{{ value }}">{{ caller() if caller else value }}</p>{% endmacro -%}
{%- set kept %}{{ value }}{% endset -%}
{{ value }}|{{ kept }}|{{ own(value) }}|{% call own(value) %}{{ value }}{% endcall %}|{{ value ~ value }}|
{%- for each in [value] %}{{ each }}{% else %}none{% endfor %}|{% filter upper %}{{ value }}{% endfilter %}|
{{- {"title": value}|xmlattr }}|{{ [value]|join(", ") }}|{{ missing }}|{{ "a constant <&" }}
"""


@pytest.fixture
def in_request(app: Flask) -> Iterator[None]:
    with app.test_request_context():
        yield


def test_each_value_has_the_text_that_markupsafe_gives_it() -> None:
    for value in VALUES:
        assert str(escaped(value)) == str(escape(value))


@pytest.mark.usefixtures("in_request")
def test_templates_write_what_they_would_write_with_jinjas_own_compiler(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = [render_template_string(TEMPLATE, value=value) for value in VALUES]
    assert not any("<script>" in text for text in ours)
    monkeypatch.setattr(app.jinja_env, "code_generator_class", CodeGenerator)
    monkeypatch.setattr(app.jinja_env, "cache", None)
    assert [render_template_string(TEMPLATE, value=value) for value in VALUES] == ours


@pytest.mark.usefixtures("in_request")
def test_templates_are_compiled_to_escape_so(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def watched(value: object) -> str:
        seen.append(value)
        return escaped(value)

    monkeypatch.setattr(app.jinja_env, "escaped", watched)
    assert render_template_string("{{ value }}", value="<") == "&lt;"
    assert seen == ["<"]


def test_a_release_of_markupsafe_without_the_function_below_escapes_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(escaping, "escape_text", escape)
    assert [str(escaped(value)) for value in VALUES] == [str(escape(value)) for value in VALUES]
