"""Checks of pages: axe-core's findings, overflow, lost focus, motion."""

from functools import cache
from pathlib import Path

import axe_playwright_python

# Whether Tab has returned to the first focused element.
IS_AT_FIRST_FOCUS = "(window.firstFocus ?? (window.firstFocus = document.activeElement, 0)) === document.activeElement"
SCHEMES = ("light", "dark")
LEVELS = (
    "wcag2a",
    "wcag2aa",
    "wcag21a",
    "wcag21aa",
    "wcag22a",
    "wcag22aa",
    "best-practice",
)
# A phone and a window, which axe-core's findings are asked for.
WINDOWS = {390: 844, 1440: 900}


@cache
def _axe():
    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()


@cache
def _ours():
    return Path(__file__).with_suffix(".js").read_text()


def violations(page, *rules):
    """Return axe-core's findings at levels A and AA and of best practice, or of these
    rules alone.

    What frames hold is left out: a message's body is not of the desk.
    """
    if page.evaluate("typeof axe === 'undefined'"):
        page.evaluate(_axe())
    return _ask(
        page,
        "violations",
        {"type": "rule" if rules else "tag", "values": rules or LEVELS},
    )


def too_wide(page):
    """Return the elements that are wider than the window."""
    return _ask(page, "tooWide")


def is_narrow(page):
    """Whether the page fits the width of its window."""
    # Its style sheets are there then.
    page.wait_for_load_state()
    return bool(
        page.evaluate(
            "document.scrollingElement.scrollWidth <= document.scrollingElement.clientWidth"
        )
    )


def violations_in(page, *schemes):
    """Return axe-core's findings as the page is, or in these schemes, which differ only
    in colours.
    """
    if not schemes:
        return violations(page)
    found = []
    for number, scheme in enumerate(schemes):
        show(page, scheme)
        found += violations(page, *(["color-contrast"] if number else []))
    return found


def everywhere(page, *, but=()):
    """Return axe-core's findings, but for these rules, narrow and wide, light and dark."""
    found = []
    for width, height in WINDOWS.items():
        page.set_viewport_size({"width": width, "height": height})
        here = violations_in(page, *SCHEMES)
        if any(one.startswith("target-size") for one in here):
            # What is half under the bar at the bottom can be scrolled out from there.
            page.set_viewport_size({"width": width, "height": 4 * height})
            here = [*_but(here, {"target-size"}), *violations(page, "target-size")]
        found += [f"{width}: {one}" for one in _but(here, but)]
    return found


def unfolded(page, *, but=()):
    """Unfold whatever is folded up, and return axe-core's findings; nothing where there
    is nothing to unfold.
    """
    # What opens over other controls covers them, until it is shut again.
    return (
        _but(violations_in(page, *SCHEMES), {*but, "target-size"})
        if _ask(page, "unfold")
        else []
    )


def _but(found, rules):
    return [one for one in found if one.partition(":")[0] not in rules]


def bones(page):
    """Return what is missing: heading, landmarks, skip link, times, names of frames."""
    return _ask(page, "bones")


def moving(page):
    """Return the elements with an animation or a transition."""
    return _ask(page, "moving")


def lost_focus(page, *, presses):
    """Return where the focus is invisible or covered while Tab goes through the page
    once.
    """
    for _ in range(presses):
        page.keyboard.press("Tab")
        # The page scrolls to the focused element before the next frame.
        page.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        if page.evaluate(IS_AT_FIRST_FOCUS):
            return
        if found := _ask(page, "lostFocus"):
            yield str(found)


def settled(page, address):
    """Open an address and wait until nothing moves, except progress indicators."""
    page.goto(address)
    _rest(page)


def open_up(page, steps, there):
    """Press these keys and elements one after the other, and wait for what is there
    then.
    """
    for step in steps:
        if step[0] in "#.":
            page.locator(step).first.click()
        else:
            page.keyboard.press(step)
    page.locator(there).first.wait_for()


def pause(page):
    """Wait for longer than a double press takes, so that the next press counts."""
    page.evaluate("new Promise((done) => setTimeout(done, 450))")


def on_screen(page):
    """Return the id of the message that is open."""
    return page.evaluate("document.getElementById('message').dataset.message ?? ''")


def wait_for_ahead(page):
    """Wait until the next message and its body have been prefetched."""
    page.wait_for_selector(
        "article[inert][data-letter=here]:not(.leaves)", state="attached"
    )


def show(page, scheme):
    """Show the page in this color scheme, and wait until its colours have changed."""
    page.emulate_media(color_scheme=scheme)
    _rest(page)


def _rest(page):
    page.evaluate(
        "Promise.all(document.getAnimations()"
        ".filter((one) => one.effect.getComputedTiming().endTime !== Infinity)"
        ".map((one) => one.finished.catch(() => 0)))"
    )


def _ask(page, name, argument=None):
    # A press that navigates returns before the new page is ready.
    page.wait_for_load_state("domcontentloaded")
    # Injected through the protocol: the page's policy allows no foreign script
    # elements.
    page.evaluate(_ours())
    return page.evaluate(f"(argument) => looking.{name}(argument)", argument)
