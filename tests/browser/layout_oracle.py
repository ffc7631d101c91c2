"""Compare the words that Chromium shows, and where, with what the desk reports about a message."""

import base64
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from unicodedata import bidirectional

from playwright.sync_api import Browser, Page

from common.fingerprint import Content
from rendering import RenderedMessage
from rendering.render import render_message

WIDTH, HEIGHT = 700, 900
# All characters have the same width, so that replacing them moves nothing.
MONOSPACE = "*,*::before,*::after{font-family:monospace!important;animation-play-state:paused!important}"
# The share of a word's width and height that must be visible for it to be readable.
LEAST = (0.25, 0.12)
# The share of its area that must be visible where boxes around it clip it.
LEAST_AREA = 0.3
# The overlapping share of the smaller of two words from which neither is readable.
GARBLED = 0.35

Rect = list[float]


@dataclass(frozen=True)
class Word:
    """A word as Chromium draws it: its box (None: nowhere), whether it is readable, whether it is struck through."""

    text: str
    rect: Rect | None
    is_read: bool
    is_struck: bool
    under: frozenset[str] = frozenset()  # words that lie over it


@cache
def _script() -> str:
    # An expression: the formatter ends it as a statement.
    return (Path(__file__).parent / "words.js").read_text().rstrip().removesuffix(";")


class Oracle:
    """Two pages: one without scripts that shows messages as they were written, one that compares pictures of it."""

    def __init__(self, chromium: Browser) -> None:
        size: Any = {"width": WIDTH, "height": HEIGHT}
        self.context = chromium.new_context(viewport=size, java_script_enabled=False)
        self.page: Page = self.context.new_page()
        self.page.route("**/*", lambda route: route.abort())
        self.judge: Page = chromium.new_page()

    def close(self) -> None:
        self.context.close()
        self.judge.close()

    def words(self, html: str) -> list[Word]:
        """Return the words of a message in the order in which they are written, as Chromium shows them."""
        self.page.set_content(html, wait_until="load")
        self.page.evaluate(f"(style) => {_script()}.restyle(style)", MONOSPACE)
        # A picture that does not load gets its box only after its loading has failed.
        before = self.page.screenshot()
        found = self.page.evaluate(f"{_script()}.words()")
        self.page.evaluate(f"{_script()}.swap()")
        pictures = [base64.b64encode(picture).decode() for picture in (before, self.page.screenshot())]
        largest = [max(one["rects"], key=_area, default=None) for one in found]
        seen = [_common(rect, one["cut"]) if rect else [0, 0, 0, 0] for rect, one in zip(largest, found, strict=True)]
        shares = self.judge.evaluate(f"(given) => {_script()}.compare(given)", {"pictures": pictures, "rects": seen})
        words = []
        for one, rect, left, (wide, high) in zip(found, largest, seen, shares, strict=True):
            if rect is None or _area(left) < LEAST_AREA * _area(rect):
                words.append(Word(one["text"], None, False, one["struck"]))
                continue
            # Content to the right or below is reached by scrolling.
            is_beyond = (rect[2] > WIDTH or rect[3] > HEIGHT) and rect[0] >= 0 and rect[1] >= 0
            is_judged = 2 * len(re.findall("[A-Za-z0-9]", one["text"])) > len(one["text"])
            is_read = is_beyond or not is_judged or (wide >= LEAST[0] and high >= LEAST[1])
            words.append(Word(one["text"], left, is_read, one["struck"]))
        return _without_garbled(words)


def _common(one: Rect, other: list[float | None]) -> Rect:
    """Return the intersection of two rectangles; a side that is None is unbounded."""
    left, top, right, bottom = (own if limit is None else limit for own, limit in zip(one, other, strict=True))
    return [max(one[0], left), max(one[1], top), min(one[2], right), min(one[3], bottom)]


def _area(rect: Rect) -> float:
    return max(0.0, rect[2] - rect[0]) * max(0.0, rect[3] - rect[1])


def _without_garbled(words: list[Word]) -> list[Word]:
    """Return the words, with overlapping ones marked as unreadable."""
    seen = [(at, word.rect) for at, word in enumerate(words) if word.is_read and word.rect]
    under: dict[int, set[str]] = defaultdict(set)
    for index, (at, one) in enumerate(seen):
        for other_at, other in seen[index + 1 :]:
            if _area(_common(one, list(other))) > GARBLED * min(_area(one), _area(other)):
                under[at].add(words[other_at].text)
                under[other_at].add(words[at].text)
    return [
        replace(word, is_read=word.is_read and at not in under, under=frozenset(under.get(at, ())))
        for at, word in enumerate(words)
    ]


def inverted(words: list[Word]) -> list[tuple[str, str]]:
    """Return the pairs of words that Chromium draws in the opposite of their reading order."""
    ltr = [word for word in words if not any(bidirectional(character) in ("R", "AL") for character in word.text)]
    seen = [(word.text, word.rect) for word in ltr if word.is_read and word.rect]
    return [
        (one, other)
        for index, (one, first) in enumerate(seen)
        for other, second in seen[index + 1 :]
        if _is_read_before(second, first)
    ]


def _is_read_before(one: Rect, other: Rect) -> bool:
    """Whether a word is read before another: left of it on its line, or above it and not in a column to its right."""
    common = min(one[3], other[3]) - max(one[1], other[1])
    if common > 0.5 * min(one[3] - one[1], other[3] - other[1]):
        return one[0] + one[2] < other[0] + other[2]
    return one[1] < other[1] and one[0] < other[2]


def silent(oracle: Oracle, html: str) -> list[str]:
    """Return where the desk's view differs from Chromium's without the desk saying so."""
    shown = render_message(Content(html=html))
    if shown.doubt:
        return []
    words = oracle.words(html)
    hidden_words, shown_words = _bare(" ".join(one.text for one in shown.hidden)), _bare(shown.plain)
    if reports_displacement(shown):
        return []
    plain = [word for word in words if _bare(word.text) not in hidden_words]
    found = [f"read before {one}: {other}" for one, other in inverted(plain)][:3]
    struck = _bare(" ".join(re.findall(r"<s>(.*?)</s>", shown.document)))
    for word in words:
        bare = _bare(word.text)
        # Reporting one of two overlapping words is enough.
        if bare not in shown_words or any(_bare(one) in hidden_words for one in (word.text, *word.under)):
            continue
        if not word.is_read:
            found.append(f"unseen {word.text}")
        elif (bare in struck) != word.is_struck:
            found.append(f"struck out {word.text}: {word.is_struck}")
    return found


def reports_displacement(shown: RenderedMessage) -> bool:
    """Whether the desk reports that some content is displaced and may cover other content."""
    over = ("may lie over", "beyond the edge", "over each other")
    return bool(shown.reordered) or any(how in one.how for one in shown.hidden for how in over)


def _bare(word: str) -> str:
    return "".join(re.findall(r"\w", word))
