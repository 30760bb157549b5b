"""What every page must be: quiet, usable by everybody, and as wide as its window (WCAG 2.2 AA)."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from playwright.sync_api import Locator, Page

from tests.support.npm import npm_package

AXE = "axe-core@4.14.1"

#: The rules of axe that hold: those of WCAG 2.2 up to AA, and what its authors think good beyond it.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

#: The rule of axe about colours.
COLOURS = ["color-contrast"]

#: A phone's width, at which WCAG 1.4.10 forbids to scroll sideways, and a desk's; each with its height.
PHONE, DESK = (320, 640), (1440, 900)

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

#: Chromium says this in the console about each answer that is an error, even if it is the page itself.
FAILED = "Failed to load resource: the server responded with a status of "


def page_is_sound(page: Page) -> None:
    """Assert that the page, as it is now, has no finding of axe and fits, on a phone and on a desk.

    Neither may the browser have complained about any page that this tab has shown.
    """
    usual = page.viewport_size
    page.emulate_media(color_scheme="light")
    for width, height in (PHONE, DESK):
        page.set_viewport_size({"width": width, "height": height})
        wide = _overflow(page)
        assert wide == [], f"{page.url} scrolls sideways at {width} px: {wide}"
        assert (findings := _findings(page, RULES)) == [], f"{page.url}, at {width} px: {findings}"
    # Nothing but colours depends on the scheme, and they are the same at every width.
    page.emulate_media(color_scheme="dark")
    assert (findings := _findings(page, COLOURS)) == [], f"{page.url}, dark: {findings}"
    page.emulate_media(color_scheme="null")
    if usual is not None:
        page.set_viewport_size(usual)
    found = complaints(page)
    assert found == [], f"the browser complains: {found}"


def complaints(page: Page) -> list[str]:
    """Everything that the console says, and errors of scripts; but not that the page itself is an error."""
    addresses = {request.url for request in page.requests() if request.is_navigation_request()}
    messages = [
        message.text
        for message in page.console_messages()
        if not (message.text.startswith(FAILED) and message.location["url"] in addresses)
    ]
    return messages + [str(error) for error in page.page_errors()]


def _findings(page: Page, rules: list[str]) -> list[str]:
    """What axe finds, with the places."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_axe())
    found: list[Any] = page.evaluate(
        """async rules => (await axe.run({
            runOnly: rules, resultTypes: ["violations"], preload: false, elementRef: false,
        })).violations""",
        rules,
    )
    return [f"{each['id']}: {node['html'][:200]} {node['failureSummary']}" for each in found for node in each["nodes"]]


def _overflow(page: Page) -> list[str]:
    """The elements that reach beyond the page's right edge, if the page can be scrolled sideways."""
    found: list[str] = page.evaluate(
        """() => {
            const root = document.documentElement;
            if (root.scrollWidth <= root.clientWidth) return [];
            return [...document.querySelectorAll("body *")]
                .filter(each => each.getBoundingClientRect().right > root.clientWidth)
                .map(each => each.outerHTML.slice(0, 200));
        }"""
    )
    return found


@cache
def _axe() -> str:
    return (npm_package(AXE) / "axe.min.js").read_text()


def go_to(page: Page, target: Locator) -> None:
    """Press Tab until `target` has the focus, and assert that one sees it there."""
    for _ in range(150):
        page.keyboard.press("Tab")
        if target.evaluate("each => each === document.activeElement"):
            break
    else:
        raise AssertionError(f"Tab does not lead to {target}")
    outline = target.evaluate("each => getComputedStyle(each).outlineStyle + ' ' + getComputedStyle(each).outlineWidth")
    assert outline == "solid 3px", f"the focus on {target} is not seen"
