"""Judges messages and their simple forms by what Chromium draws: which words can be
read, in which order, and which are added.

Many messages are drawn on one page, each in a frame without scripts, and again with all
words backwards. If the picture is the same with a word backwards, nobody can read it.
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

# In pixels: the page with many messages, and the most height of one message.
SIZE = (1632, 4800)
MOST_HIGH = 1600
# Messages that are judged together.
AT_ONCE = 40
# How much a pixel of a letter must change with another letter, of 255, so that
# everybody can read it.
CLEAR = 40
# If more than this share of the smaller of two words is under the other, neither can be
# read.
GARBLED = 0.35
# The part of a line's height in which capital letters are.
INK = (0.17, 0.80)
# Invisible marks of direction, which are no letters.
MARKS = "\u200f\u061c"
_WORD = re.compile("[HMN]{6}")
_TAG = re.compile("<[^>]*>")
# With such styles, the letters of a word are drawn at other places too.
_MIRRORS = re.compile(
    r"shadow|filter|reflect|text-indent|\\|&colon|content|offset|element\(",
    re.IGNORECASE,
)
# Messages whose styles may add words.
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
    """A word as drawn: the boxes of its letters, and the table cells around."""

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
        """The box of the letters on its first line, without room above or below."""
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
    """One message as Chromium drew it. `wide` is the width of its content, `added` are
    the words that are not in its HTML.
    """

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
    """The judgement on one message: its simple form, what the original does to its
    words, and what `simplify` missed.
    """

    letter: Letter
    simple: str = ""
    changes: tuple[Change, ...] = ()
    is_marked: bool = False
    does: frozenset[str] = frozenset()
    # Each is ("original" or "simple", what is wrong, words): in the original something
    # that no change names, or something wrong in the simple form.
    misses: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    # Used while it is judged: how original and simple form were drawn, and the words
    # that cannot be read, or perhaps not.
    base: Drawn | None = None
    form: Drawn | None = None
    unseen: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    added: bool = False
    blurred: list[str] = field(default_factory=list)


def backwards(html, words=None):
    """Return HTML with these words backwards, or all words if `words` is None."""
    chosen = None if words is None else set(words)
    return _WORD.sub(
        lambda m: m[0][::-1] if chosen is None or m[0] in chosen else m[0], html
    )


class Judge:
    """Judges messages in a browser. `judging` makes one."""

    def __init__(self, browser):
        self.browser = browser
        self.script = (
            (Path(__file__).parent / "frames.js").read_text().rstrip().removesuffix(";")
        )
        self.pages = {}
        self.numbers = count(7, 17)
        self.is_careful = False

    def judge(self, letters):
        """Return a judgement on each message."""
        judgements = self._judge(letters)
        # A miss counts only if it is found again, in new frames.
        missed = [index for index, one in enumerate(judgements) if one.misses]
        self.is_careful = True
        for index, again in zip(
            missed,
            self._judge([judgements[index].letter for index in missed]),
            strict=True,
        ):
            kinds = {miss[:2] for miss in again.misses}
            again.misses = tuple(
                miss for miss in judgements[index].misses if miss[:2] in kinds
            )
            judgements[index] = again
        self.is_careful = False
        return judgements

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
            case.is_marked = any(one.does for one in made.changes)
        for scheme in ("light", "dark"):
            chosen = [one for one in drawn if one.letter.scheme == scheme]
            for at in range(0, len(chosen), AT_ONCE):
                part = chosen[at : at + AT_ONCE]
                self._look_at_originals(part, scheme)
                self._look_at_forms(part, scheme)
        for case in drawn:
            _conclude(case)
        return cases

    # Draws the original messages, and finds the words that nobody can read.
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

    # Draws the simple forms, and finds the words that are not clear enough.
    def _look_at_forms(self, cases, scheme):
        jobs = [
            Job(_page(one.simple), one.letter.width, ask_added=True) for one in cases
        ]
        drawn = self.draw(jobs, scheme)
        # A table that is too wide for the window can be scrolled, so draw it wider.
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
        """Draw again with single words backwards, or without added words, if the first
        pictures did not decide.
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
        """Return a `Drawn` for each job, in order."""
        found = {}
        left = list(range(len(jobs)))
        while left:
            chosen = left[: 2 * AT_ONCE]
            for at, one in self._draw_page([jobs[number] for number in chosen], scheme):
                found[chosen[at]] = one
            left = [one for one in left if one not in found]
        return [found[at] for at in range(len(jobs))]

    # Draws jobs on one page. Yields (index of the job, Drawn); some may be missing.
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
        # As JSON text: Playwright would be slow to pass the objects themselves.
        placed = json.loads(
            page.evaluate(f"(given) => {self.script}.draw(given)", json.dumps(given))
        )
        height = max(one["top"] + one["height"] for one in placed)
        picture = _screenshot(session, height)
        while picture.getpixel((1, 1)) != colour:
            # The corner does not have the new colour: this is still the page before.
            time.sleep(0.05)
            picture = _screenshot(session, height)
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
    """Yield a judge with its own browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=list(ARGUMENTS)
        )
        yield Judge(browser)
        browser.close()


def _screenshot(session, height):
    clip = {"x": 0, "y": 0, "width": SIZE[0], "height": height, "scale": 1}
    screenshot = session.send(
        "Page.captureScreenshot",
        {"format": "png", "optimizeForSpeed": True, "clip": clip},
    )
    return Image.open(io.BytesIO(base64.b64decode(screenshot["data"]))).convert("RGB")


def _page(simple, width=0):
    """Return the page of a simple form, in a box of this width if one is given."""
    # Mail programs show messages in quirks mode or in standards mode: use both.
    doctype = "" if simple.count("<") % 3 == 0 else "<!doctype html>"
    return (
        f'{doctype}<body><div style="width:{width}px">{simple}</div>'
        if width
        else f"{doctype}<body>{simple}"
    )


def _is_beyond(text, case):
    """Whether a word is outside of the picture, but can be reached by scrolling."""
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
    """Whether any pixel in a rectangle differs."""
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
    """Return the words that may be unreadable, as far as two pictures tell."""
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
    """Return the words with a letter that is not clear enough to read."""
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


def inverted(words, html):
    """Return pairs of words that are drawn in the opposite order, and words whose
    letters are, as pairs of themselves.

    Messages with Hebrew or Arabic letters are not judged: their lines have two
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
    """Whether word `one` is read before `other`: it is left of it on its line, or above
    it and not in a column to its right.
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
    """Return the pairs of words that are drawn over each other."""
    return [
        (one.text, other.text)
        for one, other in combinations(words, 2)
        if _area(_common(one.ink, other.ink))
        > GARBLED * min(_area(one.ink), _area(other.ink))
        > 0
    ]


# Writes into the judgement what was missed.
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
    # The pictures of thousands of messages would not fit into memory.
    case.base = case.form = None


def _does(case):
    """Return what the original does to words: the words by kind of harm."""
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
    """Return what is wrong with the simple form: the words by kind of fault."""
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
