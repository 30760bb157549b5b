"""Every page of the core and of the console, found in the map of addresses, so that a new page is covered at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.models import Attachment
from app.pages.addresses import is_page_endpoint
from tests.browser.conftest import Open
from tests.browser.sites import Site
from tests.browser.soundness import page_is_sound
from tests.browser.work import Work, begin

#: Pages that one sees before the sign-in, or that lead elsewhere; they have tests of their own.
ELSEWHERE = {"/", "/sign-in", "/first-run"}


@pytest.fixture(scope="module")
def work(site: Site) -> Work:
    """Work with everything that pages show."""
    work = begin(site, "Everything")
    work.take_photos(2)
    return work


def addresses(site: Site, work: Work) -> Iterator[str]:
    """The addresses of all pages that show something, by the rows of this work."""
    examples = {
        "inspection_id": work.inspection.id,
        "template_id": work.form.form_template_id,
        "user_id": work.technician.id,
        "attachment_id": site.world.all(Attachment)[-1].id,
        "entity": "form_fill",
        "name": "values",
    }
    keys = {
        "console.correct": work.form.id,
        "console.conflict": work.conflict(),
        "console.set_aside_item": work.refusal(),
    }
    with site.app.test_request_context():
        adapter = site.app.url_map.bind("localhost")
        for rule in site.app.url_map.iter_rules():
            if is_page_endpoint(rule.endpoint) and "GET" in (rule.methods or ()) and "filename" not in rule.arguments:
                values = {name: keys[rule.endpoint] if name == "key" else examples[name] for name in rule.arguments}
                address = adapter.build(rule.endpoint, values)
                if address not in ELSEWHERE and not address.startswith("/page-files/"):
                    yield address


def test_every_page_is_sound(site: Site, open_browser: Open, work: Work) -> None:
    page = open_browser(site.user("admin", name="Ada Office"))
    visited = 0
    for address in sorted(addresses(site, work)):
        answer = page.request.get(address)
        assert answer.ok, address
        if answer.headers["content-type"].startswith("text/html"):
            page.goto(address)
            page_is_sound(page)
            visited += 1
    assert visited > 20
