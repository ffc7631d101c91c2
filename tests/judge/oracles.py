"""Judges simple forms by what Chromium draws: which words can be read, in which order,
and which are added.

Many messages are drawn on one page, each in a frame without scripts, and again with all
words backwards. Where a word backwards leaves the picture the same, nobody can read it.
"""

import base64
import io
import json
import re
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from html import unescape
from itertools import combinations, count, pairwise
from pathlib import Path
from unicodedata import bidirectional

from PIL import Image, ImageChops
from playwright.sync_api import sync_playwright

from launcher.quality import find_chromium
from simple_form import Change, TooComplex, simplify
from tests.judge.letters import Letter

SIZE = (1632, 4800)
MOST_HIGH = 1600
AT_ONCE = 40
# How much a letter of the simple form differs from another one, of 255, to be read by
# everybody.
CLEAR = 40
# The share of the smaller of two words that lies under the other one, from which
# neither is readable.
GARBLED = 0.35
# Capitals stand in this part of the height of a line.
INK = (0.17, 0.80)
# Directions without letters.
MARKS = "\u200f\u061c"
_WORD = re.compile("[HMN]{6}")
_TAG = re.compile("<[^>]*>")
# Where such a thing is, the letters of one word are drawn at other places, too.
_MIRRORS = re.compile(
    r"shadow|filter|reflect|text-indent|\\|&colon|content|offset|element\(",
    re.IGNORECASE,
)
_MAY_ADD = re.compile(r"content|list|quotes|symbols|\\|&colon", re.IGNORECASE)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-checker-imaging",
    "--disable-lcd-text",
)

Rect = Sequence[float]


@dataclass(frozen=True)
class Word:
    """A word as Chromium draws it: the boxes of its letters, and the cells of tables
    that it lies in.
    """

    text: str
    letters: tuple[Rect, ...]
    cells: tuple[tuple[int, Rect], ...] = ()
    framed: bool = False

    @cached_property
    def rect(self):
        if not self.letters:
            return None
        sides = list(zip(*self.letters, strict=True))
        return (min(sides[0]), min(sides[1]), max(sides[2]), max(sides[3]))

    @cached_property
    def ink(self):
        """The largest part of it on one line, without the room above and below its
        letters.
        """
        first = self.letters[0]
        line = [one for one in self.letters if abs(one[1] - first[1]) < 2]
        left = min(x[0] for x in line)
        top = first[1]
        right = max(x[2] for x in line)
        bottom = first[3]
        height = bottom - top
        return (left, top + INK[0] * height, right, top + INK[1] * height)


@dataclass(frozen=True)
class Drawn:
    """One message as it was drawn."""

    picture: Image.Image
    words: tuple[Word, ...]
    wide: int
    added: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    html: str
    width: int
    height: int = 0
    without: bool = False
    ask_added: bool = False


@dataclass
class Judgement:
    """A letter, what it was simplified to, what the original does to its words, and
    what was missed.
    """

    letter: Letter
    simple: str = ""
    changes: tuple[Change, ...] = ()
    is_marked: bool = False
    does: frozenset[str] = frozenset()
    # Each is the form, what is wrong with it, and the words: in the original without a
    # change that says so, or in the simple form.
    misses: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    # While it is judged: how both were drawn, and which words cannot be read, or
    # perhaps not.
    base: Drawn | None = None
    form: Drawn | None = None
    unseen: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    added: bool = False
    blurred: list[str] = field(default_factory=list)


def backwards(html, words=None):
    """Return a message with these words backwards; with all where none are given."""
    chosen = None if words is None else set(words)
    return _WORD.sub(
        lambda m: m[0][::-1] if chosen is None or m[0] in chosen else m[0], html
    )


class Judge:
    """Judges letters; see `judging` for one with a browser."""

    def __init__(self, browser):
        self.browser = browser
        self.script = (
            (Path(__file__).parent / "frames.js").read_text().rstrip().removesuffix(";")
        )
        self.pages = {}
        self.numbers = count(7, 17)
        self.is_careful = False

    def judge(self, letters):
        """Return a judgement of each letter."""
        found = self._judge(letters)
        # What is missed must be missed twice, the second time in new frames.
        missed = [at for at, one in enumerate(found) if one.misses]
        self.is_careful = True
        for at, again in zip(
            missed, self._judge([found[at].letter for at in missed]), strict=True
        ):
            kinds = {miss[:2] for miss in again.misses}
            again.misses = tuple(miss for miss in found[at].misses if miss[:2] in kinds)
            found[at] = again
        self.is_careful = False
        return found

    def _judge(self, letters):
        cases = [Judgement(one) for one in letters]
        drawn = []
        for case in cases:
            try:
                made = simplify(case.letter.html)
            except TooComplex:
                continue
            drawn.append(case)
            case.simple = made.html
            case.changes = made.changes
            case.is_marked = any(one.concerns_words for one in made.changes)
        for scheme in ("light", "dark"):
            chosen = [one for one in drawn if one.letter.scheme == scheme]
            for at in range(0, len(chosen), AT_ONCE):
                part = chosen[at : at + AT_ONCE]
                self._look_at_originals(part, scheme)
                self._look_at_forms(part, scheme)
        for case in drawn:
            _conclude(case)
        return cases

    def _look_at_originals(self, cases, scheme):
        jobs = [
            Job(
                one.letter.html,
                one.letter.width,
                ask_added=bool(_MAY_ADD.search(one.letter.html)),
            )
            for one in cases
        ]
        for case, one in zip(cases, self.draw(jobs, scheme), strict=True):
            case.base = one
        asked = [one for one in cases if one.letter.is_whole or not one.is_marked]
        again = [
            Job(backwards(one.letter.html), one.letter.width, one.base.picture.height)
            for one in asked
        ]
        for case, turned in zip(asked, self.draw(again, scheme), strict=True):
            case.unsure = _unsure(case.letter.html, case.base, turned)
        self._look_again(asked, scheme)

    def _look_at_forms(self, cases, scheme):
        jobs = [
            Job(_page(one.simple), one.letter.width, ask_added=True) for one in cases
        ]
        drawn = self.draw(jobs, scheme)
        # Of a table that is too wide for the window the rest is reached by scrolling.
        for at, one in enumerate(drawn):
            if one.wide > jobs[at].width:
                page = _page(cases[at].simple, jobs[at].width - 16)
                jobs[at] = Job(page, min(one.wide, SIZE[0]), ask_added=True)
        wide = [at for at, one in enumerate(drawn) if one.wide > one.picture.width]
        for at, one in zip(
            wide, self.draw([jobs[at] for at in wide], scheme), strict=True
        ):
            drawn[at] = one
        again = [
            Job(backwards(job.html), job.width, one.picture.height)
            for job, one in zip(jobs, drawn, strict=True)
        ]
        for case, one, turned in zip(
            cases, drawn, self.draw(again, scheme), strict=True
        ):
            case.form = one
            case.blurred = _blurred(one, turned)

    def _look_again(self, cases, scheme):
        """Look at single words, and at what is added, where the first look left it
        open.
        """
        asked = []
        for case in cases:
            size = (case.letter.width, case.base.picture.height)
            asked += [
                (case, word, Job(backwards(case.letter.html, [word]), *size))
                for word in case.unsure
            ]
            if any(re.search(r"\w|\(", one) for one in case.base.added):
                asked.append((case, "", Job(case.letter.html, *size, without=True)))
        for (case, word, _), one in zip(
            asked, self.draw([job for *_, job in asked], scheme), strict=True
        ):
            is_same = (
                ImageChops.difference(case.base.picture, one.picture).getbbox() is None
            )
            if not word:
                case.added = not is_same
            elif is_same and not _is_beyond(word, case):
                case.unseen.append(word)

    def draw(self, jobs, scheme="light"):
        """Return how each message is drawn."""
        found = {}
        left = list(range(len(jobs)))
        while left:
            chosen = left[: 2 * AT_ONCE]
            for at, one in self._draw_page([jobs[number] for number in chosen], scheme):
                found[chosen[at]] = one
            left = [one for one in left if one not in found]
        return [found[at] for at in range(len(jobs))]

    def _draw_page(self, jobs, scheme):
        page, session = self._page(scheme)
        colour = (
            next(self.numbers) % 200,
            next(self.numbers) % 211,
            next(self.numbers) % 223,
        )
        given = {
            "jobs": [{**vars(job), "most": MOST_HIGH} for job in jobs],
            "size": SIZE,
            "colour": f"rgb{colour}",
        }
        given["fresh"] = self.is_careful
        # As text: what is handed over otherwise is taken apart piece by piece.
        placed = json.loads(
            page.evaluate(f"(given) => {self.script}.draw(given)", json.dumps(given))
        )
        height = max(one["top"] + one["height"] for one in placed)
        picture = _taken(session, height)
        while picture.getpixel((1, 1)) != colour:
            # The page as it was before.
            time.sleep(0.05)
            picture = _taken(session, height)
        for one in placed:
            job = jobs[one["at"]]
            place = (
                one["left"],
                one["top"],
                one["left"] + job.width,
                one["top"] + one["height"],
            )
            words = tuple(
                Word(
                    w["text"],
                    tuple(w["letters"]),
                    tuple((n, r) for n, r in w["cells"]),
                    w["framed"],
                )
                for w in one["words"]
            )
            yield (
                one["at"],
                Drawn(picture.crop(place), words, one["wide"], tuple(one["added"])),
            )

    def _page(self, scheme):
        if scheme not in self.pages:
            size = {"width": SIZE[0], "height": SIZE[1] + MOST_HIGH}
            context = self.browser.new_context(viewport=size, color_scheme=scheme)
            page = context.new_page()
            page.route("**/*", lambda route: route.abort())
            page.set_content("<!doctype html><body style='margin:0'>")
            self.pages[scheme] = page, context.new_cdp_session(page)
        return self.pages[scheme]


@contextmanager
def judging():
    """Give a judge with a browser of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=list(ARGUMENTS)
        )
        yield Judge(browser)
        browser.close()


def _taken(session, height):
    clip = {"x": 0, "y": 0, "width": SIZE[0], "height": height, "scale": 1}
    taken = session.send(
        "Page.captureScreenshot",
        {"format": "png", "optimizeForSpeed": True, "clip": clip},
    )
    return Image.open(io.BytesIO(base64.b64decode(taken["data"]))).convert("RGB")


def _page(simple, width=0):
    """Return the page of a simple form, in a box of this width if one is given."""
    # A mail program may show it in either mode.
    doctype = "" if simple.count("<") % 3 == 0 else "<!doctype html>"
    return (
        f'{doctype}<body><div style="width:{width}px">{simple}</div>'
        if width
        else f"{doctype}<body>{simple}"
    )


def _is_beyond(text, case):
    """Whether a word lies outside of the picture, and is reached by scrolling a little."""
    word = (
        next((one for one in case.base.words if one.text == text), None)
        if case.base
        else None
    )
    if word is None or word.rect is None or case.base is None:
        return False
    left, top, _, bottom = word.rect
    width, height = case.base.picture.size
    return bottom > height or (
        width - 40 < left < 2 * width and case.base.wide > width and top >= 0
    )


def _area(rect):
    return max(0.0, rect[2] - rect[0]) * max(0.0, rect[3] - rect[1])


def _common(one, other):
    return (
        max(one[0], other[0]),
        max(one[1], other[1]),
        min(one[2], other[2]),
        min(one[3], other[3]),
    )


def _differs(difference, rect):
    """Whether anything differs inside of a rectangle."""
    left, top, right, bottom = _common(rect, (0, 0, *difference.size))
    if right <= left or bottom <= top:
        return False
    return (
        difference.crop(
            (round(left), round(top), round(right + 0.5), round(bottom + 0.5))
        ).getbbox()
        is not None
    )


def _unsure(html, base, turned):
    """Return the words of which the pictures do not show at once that they can be read."""
    texts = list(dict.fromkeys(one.text for one in base.words))
    boxes = [one.rect for one in base.words]
    others = [one.rect for one in turned.words]
    is_moved = len(boxes) != len(others) or any(
        (a is None) != (b is None)
        or (a and b and max(abs(x - y) for x, y in zip(a, b, strict=True)) > 0.5)
        for a, b in zip(boxes, others, strict=False)
    )
    if is_moved or _MIRRORS.search(html) or len(texts) != len(base.words):
        return texts
    difference = ImageChops.difference(base.picture, turned.picture)
    found = []
    for at, word in enumerate(base.words):
        own = boxes[at]
        near = [
            box
            for number, box in enumerate(boxes)
            if number != at and box and own and _touches(own, box)
        ]
        if own is None or near or not _differs(difference, own):
            found.append(word.text)
    return found


def _touches(one, other):
    return (
        one[0] - 1 < other[2]
        and other[0] - 1 < one[2]
        and one[1] + 2 < other[3]
        and other[1] + 2 < one[3]
    )


def _blurred(base, turned):
    """Return the words of which a letter is not clear enough."""
    parts = ImageChops.difference(base.picture, turned.picture).split()
    strongest = ImageChops.lighter(ImageChops.lighter(parts[0], parts[1]), parts[2])
    clear = strongest.point([0 if value < CLEAR else 255 for value in range(256)])
    found = []
    for word in base.words:
        is_whole = len(word.letters) == len(word.text)
        is_below = word.rect is not None and word.rect[3] > base.picture.height
        if not is_below and not (
            is_whole and all(_differs(clear, one) for one in word.letters)
        ):
            found.append(word.text)
    return found


def inverted(words, html=""):
    """Return the pairs of words that stand in the opposite order, and words whose
    letters do.

    Of messages with letters of Hebrew or Arabic nothing is said: their lines have two
    directions.
    """
    if any(
        bidirectional(one) in ("R", "AL") for one in unescape(html) if one not in MARKS
    ):
        return []
    found = [
        (word.text, word.text)
        for word in words
        if any(
            _is_line(a, b) and b[0] + b[2] < a[0] + a[2]
            for a, b in pairwise(word.letters)
        )
    ]
    return found + [
        (one.text, other.text)
        for one, other in combinations(words, 2)
        if _is_before(other, one)
    ]


def _is_line(one, other):
    common = min(one[3], other[3]) - max(one[1], other[1])
    return common > 0.5 * min(one[3] - one[1], other[3] - other[1])


def _is_before(one, other):
    """Whether a word is read before another: left of it on its line, or above it and
    not in a column to its right.
    """
    for (table, box), (other_table, other_box) in zip(
        one.cells, other.cells, strict=False
    ):
        if table != other_table:
            break
        if box != other_box:
            if abs(box[1] - other_box[1]) <= 1:
                return box[0] + box[2] < other_box[0] + other_box[2]
            return box[1] < other_box[1] and box[0] < other_box[2] - 1
    first = one.ink
    second = other.ink
    if _is_line(first, second):
        return first[0] + first[2] < second[0] + second[2]
    return first[1] < second[1] and first[0] < second[2] - 1


def covered(words):
    """Return the pairs of words that lie over each other."""
    return [
        (one.text, other.text)
        for one, other in combinations(words, 2)
        if _area(_common(one.ink, other.ink))
        > GARBLED * min(_area(one.ink), _area(other.ink))
        > 0
    ]


def _conclude(case):
    does = _does(case) if case.base else {}
    wrong = _wrong(case) if case.form else {}
    case.does = frozenset(name for name, words in does.items() if words)
    misses = [
        ("original", name, words)
        for name, words in does.items()
        if words and not case.is_marked
    ]
    misses += [("simple", name, words) for name, words in wrong.items() if words]
    case.misses = tuple(misses)
    # The pictures of thousands would not fit into memory.
    case.base = case.form = None


def _does(case):
    """Return what the original does to its words, and to which."""
    seen = [
        one
        for one in case.base.words
        if one.text not in case.unseen and one.rect and not one.framed
    ]
    return {
        "hidden": tuple(case.unseen),
        "reordered": tuple(
            " ".join(pair) for pair in inverted(seen, case.letter.html)[:3]
        ),
        "covered": tuple(" ".join(pair) for pair in covered(seen)[:3]),
        "added": case.base.added if case.added else (),
    }


def _wrong(case):
    """Return what is wrong with the simple form."""
    drawn = [one for one in case.form.words if one.rect]
    written = _WORD.findall(unescape(_TAG.sub(" ", case.simple)))
    named = set(_WORD.findall(" ".join(one.passage for one in case.changes)))
    source = (
        [one.text for one in case.base.words if not one.framed] if case.base else []
    )
    order = [one for one in source if one in written]
    is_ordered = case.is_marked or order == [one for one in written if one in order]
    return {
        "unreadable": tuple(case.blurred),
        "reordered": tuple(
            " ".join(pair) for pair in inverted(drawn, case.letter.html)[:3]
        ),
        "covered": tuple(" ".join(pair) for pair in covered(drawn)[:3]),
        "added": case.form.added,
        "lost": tuple(one for one in source if one not in written and one not in named),
        "differently ordered": () if is_ordered else tuple(written[:8]),
    }
