"""Checks of a page in Chromium: axe-core's findings, overflow, lost focus, motion; and
steps that browser tests share. The part that runs in the page is looking.js.
"""

from functools import cache
from pathlib import Path

import axe_playwright_python

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
# The rules whose findings depend on the width and colours of the window.
BY_WINDOW = ("color-contrast", "target-size", "scrollable-region-focusable")
# Width, height and colour scheme of a phone and of a window, in which pages are checked.
WINDOWS = ((390, 844, "light"), (1440, 900, "dark"))


@cache
def _axe():
    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()


@cache
def _ours():
    return Path(__file__).with_suffix(".js").read_text()


def violations(page, *rules):
    """Return axe-core's findings at levels A and AA and of best practice, or of these
    rules alone.

    Frames are left out: they show messages, whose HTML is not the desk's.
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


def violations_in(page, *schemes):
    """Return axe-core's findings, in each of these colour schemes if any is given. They
    differ only in colours, so only contrast is checked again.
    """
    if not schemes:
        return violations(page)
    found = []
    for number, scheme in enumerate(schemes):
        show(page, scheme)
        found += violations(page, *(["color-contrast"] if number else []))
    return found


def everywhere(page):
    """Return axe-core's findings in a dark window, and on a light phone those that
    depend on the window.
    """
    phone, window = WINDOWS
    return [*_in_window(page, *phone, *BY_WINDOW), *_in_window(page, *window)]


def _in_window(page, width, height, scheme, *rules):
    page.set_viewport_size({"width": width, "height": height})
    show(page, scheme)
    findings = violations(page, *rules)
    if any(finding.startswith("target-size") for finding in findings):
        # An element half under the bar at the bottom is no finding: it can be scrolled.
        # Nor is one that an opened part covers in the higher window alone.
        page.set_viewport_size({"width": width, "height": 4 * height})
        found = {finding.partition(":   ")[0] for finding in findings}
        findings = [
            *_without(findings, {"target-size"}),
            *(
                finding
                for finding in violations(page, "target-size")
                if finding.partition(":   ")[0] in found
            ),
        ]
    return [f"{finding} ({width} px wide)" for finding in findings]


def everywhere_unfolded(page, *, but=()):
    """Return the same without the rules in `but`. Where parts of the page are folded,
    the window shows them open, with its contrast in light too, and closed only what
    depends on the window.
    """
    phone, (width, height, dark) = WINDOWS
    found = _in_window(page, *phone, *BY_WINDOW)
    # So high that no control is half under the bar at the bottom. An opened part may
    # cover controls until it is closed, so their sizes are not asked again.
    page.set_viewport_size({"width": width, "height": 4 * height})
    show(page, dark)
    if not page.locator("details:not([open])").count():
        return _without([*found, *violations(page)], but)
    found += violations(page, *BY_WINDOW)
    _ask(page, "unfold")
    page.set_viewport_size({"width": width, "height": height})
    found += _without(violations_in(page, dark, "light"), {"target-size"})
    return _without(found, but)


def _without(found, rules):
    return [one for one in found if one.partition(":")[0] not in rules]


def bones(page):
    """Return which parts of the structure are missing: heading, landmarks, skip link,
    times, names of frames.
    """
    return _ask(page, "bones")


def moving(page):
    """Return the elements with an animation or a transition."""
    return _ask(page, "moving")


def lost_focus(page, *, presses):
    """Yield the elements on which the focus is invisible or covered, while Tab goes
    through the page once with at most this many presses.
    """
    page.evaluate(_ours())
    for _ in range(presses):
        page.keyboard.press("Tab")
        found = page.evaluate("looking.lostFocus()")
        if found is None:
            return
        if found:
            yield found


def settled(page, address):
    """Open an address and wait until nothing moves, except progress indicators."""
    page.goto(address)
    _rest(page)


def open_up(page, steps, there):
    """Press keys and click elements (selectors with "#" or "."), one after the other.
    Then wait for the element `there`.
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
    page.wait_for_function(
        """() => {
        const frame = document.querySelector("article[inert]:not(.leaves) iframe");
        return frame && performance.getEntriesByName(frame.src).length > 0;
      }"""
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
