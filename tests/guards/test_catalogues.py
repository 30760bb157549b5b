"""The Spanish catalogues have every text of the pages, and what is compiled is what is written."""

from __future__ import annotations

import re
from gettext import GNUTranslations
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_keywords, parse_mapping_cfg
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from tests.guards.sources import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
PLACES = re.findall(r"^PAGES := (.+)$", MAKEFILE, re.MULTILINE)[0].split()
KEYWORDS = parse_keywords(["_", "gettext", "ngettext:1,2", *re.findall(r"--keyword (\w+)", MAKEFILE)])

REPAIR = "run `make messages`, translate what is empty in {}, and run `make messages` again"

#: `%(name)s` of a text.
PLACEHOLDER = re.compile(r"%\(\w+\)s|%%")


def written(place: str) -> Path:
    return ROOT / place / "locale" / "es" / "LC_MESSAGES" / "messages.po"


def catalogue(place: str) -> Catalog:
    with written(place).open("rb") as file:
        return read_po(file)


def forms(text: str | tuple[str, ...] | list[str] | None) -> list[str]:
    """The text, or its forms for one and for many."""
    return list(text) if isinstance(text, tuple | list) else [text or ""]


def messages(place: str) -> list[Message]:
    return [message for message in catalogue(place) if message.id]


def extracted(place: str) -> set[str | tuple[str, ...]]:
    """Every text of the sources of today."""
    with (ROOT / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)  # type: ignore[no-untyped-call]
    texts = extract_from_dir(ROOT / place, methods, options, keywords=KEYWORDS)
    return {text for _, _, text, _, _ in texts}


@pytest.mark.parametrize("place", PLACES)
def test_the_catalogue_has_the_texts_of_todays_pages_and_no_others(place: str) -> None:
    sources, known = extracted(place), {message.id for message in messages(place)}
    assert len(sources) > 50
    repair = REPAIR.format(written(place).relative_to(ROOT))
    assert sources - known == set(), f"texts of pages are not in the catalogue: {repair}"
    assert known - sources == set(), f"no page says these any more: {repair}"


@pytest.mark.parametrize("place", PLACES)
def test_every_text_is_translated(place: str) -> None:
    open_texts = [message.id for message in messages(place) if message.fuzzy or not all(forms(message.string))]
    assert open_texts == [], REPAIR.format(written(place).relative_to(ROOT))


@pytest.mark.parametrize("place", PLACES)
def test_a_translation_has_the_placeholders_of_its_text(place: str) -> None:
    for message in messages(place):
        originals, translations = forms(message.id), forms(message.string)
        assert len(originals) == len(translations), f"Spanish has one form for one and one for many: {message.id}"
        for original, translation in zip(originals, translations, strict=True):
            assert sorted(PLACEHOLDER.findall(original)) == sorted(PLACEHOLDER.findall(translation)), translation


@pytest.mark.parametrize("place", PLACES)
def test_what_is_compiled_is_what_is_written(place: str) -> None:
    fresh = BytesIO()
    write_mo(fresh, catalogue(place))
    fresh.seek(0)
    with written(place).with_suffix(".mo").open("rb") as file:
        assert texts_of(GNUTranslations(file)) == texts_of(GNUTranslations(fresh)), "run `make messages`"


def texts_of(compiled: GNUTranslations) -> dict[object, str]:
    """Text -> translation. The head, whose dates change, is left out."""
    texts: dict[object, str] = compiled._catalog  # type: ignore[attr-defined]
    return {text: translation for text, translation in texts.items() if text}


def test_two_catalogues_translate_a_text_in_the_same_way() -> None:
    """The core's is asked first, so that a plugin's would never be seen."""
    known: dict[object, object] = {}
    for message in (message for place in PLACES for message in messages(place)):
        assert known.setdefault(message.id, message.string) == message.string, message.id
