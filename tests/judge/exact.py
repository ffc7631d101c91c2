"""Chromium as the judge of exact letters: each is drawn, and so is its simple form. What
people read in them, in which order, under which numbers, and what is loaded, must be the
same. `python -m tests.judge.exact` prints which letters of new_css.txt and of the corpus
differ, and how many are exact.
"""

import io
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise, product, zip_longest
from pathlib import Path

from PIL import Image, ImageChops
from playwright.sync_api import Error, sync_playwright

from launcher.quality import find_chromium
from simple_form import TooComplex, simplify
from tests.corpus import HERE as CORPUS
from tests.corpus import all_letters, all_mails
from tests.judge.judging import HEADS, WIDTHS

HERE = Path(__file__).parent
# What a page begins with, by the mode in which it is drawn. After a tag, the letter's own
# doctype does not count.
MODES = {"standards": "<!doctype html>", "quirks": "<meta charset=utf-8>"}
# Pages that are drawn at once, and the pixels of each that are looked at: a screenshot of
# more than 16,384 is cut.
AT_ONCE = 10
TALLEST = 1_500
# How much lighter or darker than what is behind it ink must be to be read, of 255.
READABLE = 48
# How much of a row of pixels is ink where a line goes through a word, of 255.
LINE = 230
# How far the pixels of a word in original and form differ on average before it may be
# another word, of 255.
SIMILAR = 40
SCRIPT = (HERE / "drawn.js").read_text().rstrip().removesuffix(";")


@dataclass(frozen=True)
class Word:
    """A word that can be read, or the space for the number of an item ("item"). `link`
    is where it leads. `ink` is a picture of it; None where it is out of the picture.
    """

    text: str
    link: str
    box: tuple[float, float, float, float]
    ink: Image.Image | None

    @property
    def has_line(self):
        """Whether a line goes through the middle of the word."""
        width, height = self.ink.size
        middle = (0, int(height * 0.4), width, int(height * 0.7) + 1)
        strokes = _strokes(self.ink).crop(middle)
        rows = strokes.resize((1, strokes.height), Image.Resampling.BOX)
        return max(rows.getdata()) >= LINE

    def stands_after(self, before):
        """Return how this word stands after the one before it."""
        left, top, _, bottom = self.box
        before_left, before_top, before_right, before_bottom = before.box
        shared = min(bottom, before_bottom) - max(top, before_top)
        is_on_line = shared > min(bottom - top, before_bottom - before_top) / 2
        if is_on_line:
            if left < (before_left + before_right) / 2:
                return "over or left of"
            return "joined to" if left - before_right < 0.5 else "after"
        is_above = bottom < before_top + 2
        return "above" if is_above and left < before_right else "after"


@dataclass(frozen=True)
class Drawn:
    """A page as it is drawn. `spoken` are its words, numbers and quotation marks as a
    screen reader has them, which includes what styles write and change.
    """

    words: tuple[Word, ...]
    numbers: tuple[str, ...]
    spoken: str
    loads: frozenset[str]


def _strokes(picture):
    # Returns a picture that is white where this one has ink, black elsewhere.
    colours = picture.getcolors(picture.width * picture.height)
    _, paper = max(colours)
    blank = Image.new("RGB", picture.size, paper)
    channels = ImageChops.difference(picture, blank).split()
    strongest = ImageChops.lighter(ImageChops.lighter(*channels[:2]), channels[2])
    return strongest.point(lambda value: 255 if value > READABLE else 0)


class ExactJudge:
    """Draws letters and their simple forms in a browser of its own."""

    def __init__(self):
        self._playwright = sync_playwright().start()
        browser = self._playwright.chromium.launch(
            executable_path=find_chromium(),
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        self._pages = {}
        self._loads = defaultdict(set)
        picture = io.BytesIO()
        Image.new("RGB", (40, 40), (90, 140, 90)).save(picture, "PNG")
        self._picture = picture.getvalue()
        for scheme in HEADS:
            window = {"width": max(WIDTHS), "height": 800}
            context = browser.new_context(color_scheme=scheme, viewport=window)
            page = context.new_page()
            page.route("**/*", self._answer)
            page.set_content("<!doctype html><body style='margin:0'>")
            self._pages[scheme] = (page, context.new_cdp_session(page))

    def close(self):
        self._playwright.stop()

    def differences(self, forms):
        """Return by letter how it differs from its simple form, if it does. `forms` are
        the forms by letter.
        """
        letters = list(forms)
        found = {letter: [] for letter in letters}
        for start in range(0, len(letters), AT_ONCE):
            some = letters[start : start + AT_ONCE]
            for scheme, width, mode in product(HEADS, WIDTHS, MODES):
                head = MODES[mode] + HEADS[scheme]
                originals = self._draw([head + one for one in some], scheme, width)
                written = [head + forms[one].html for one in some]
                drawn = self._draw(written, scheme, width)
                for letter, original, form in zip(some, originals, drawn, strict=True):
                    is_whole = not forms[letter].changes
                    found[letter] += [
                        f"{scheme} {width} {mode} {one}"
                        for one in _compared(original, form, is_spoken=is_whole)
                    ]
        return {letter: how for letter, how in found.items() if how}

    def _draw(self, pages, scheme, width):
        page, session = self._pages[scheme]
        self._loads.clear()
        # Pictures within the mail are loaded as others are.
        local = [one.replace("cid:", "https://cid.example/") for one in pages]
        given = {"pages": local, "width": width, "tallest": TALLEST}
        answers = page.evaluate(SCRIPT, given)
        shot = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
        tree = session.send("Page.getFrameTree")["frameTree"]["childFrames"]
        frames = page.main_frame.child_frames
        drawn = []
        for answer, frame, node in zip(answers, frames, tree, strict=True):
            top = answer["top"]
            seen = shot.crop((0, top, width, top + answer["height"]))
            words = [_readable(word, seen, answer["reach"]) for word in answer["words"]]
            spoken = _spoken(session, node["frame"]["id"])
            drawn.append(
                Drawn(
                    words=tuple(word for word in words if word),
                    numbers=tuple(one for role, one in spoken if role == "ListMarker"),
                    spoken="".join("".join(one for _, one in spoken).split()),
                    loads=frozenset(self._loads[frame] | self._loads[None]),
                )
            )
        return drawn

    def _answer(self, route):
        # Notes a request by the frame of its letter. That of a frame within a letter may
        # come before the frame is known; then it may be of any letter.
        owner = None
        with suppress(Error):
            frame = route.request.frame
            while frame.parent_frame:
                owner = frame
                frame = frame.parent_frame
        self._loads[owner].add(route.request.url)
        if route.request.resource_type == "image":
            route.fulfill(body=self._picture, content_type="image/png")
        else:
            route.abort()


def _readable(word, seen, reach):
    # Returns a word with its picture; None if it cannot be read. What lies right of the
    # window or below the picture can be scrolled to.
    left, top, right, bottom = word["box"]
    ink = None
    if not (seen.width <= left < reach or top >= seen.height):
        box = (
            max(round(left), 0),
            max(round(top), 0),
            min(round(right), seen.width),
            min(round(bottom), seen.height),
        )
        width = box[2] - box[0]
        height = box[3] - box[1]
        if width < (right - left) / 2 or height < (bottom - top) / 2 or height < 5:
            return None
        ink = seen.crop(box)
        # Lines above and below are no ink of the word.
        inner = ink.crop((0, height // 7, width, height - height // 7))
        if max(most - least for least, most in inner.getextrema()) <= READABLE:
            return None
    return Word(word["text"], word["link"], (left, top, right, bottom), ink)


def _spoken(session, frame):
    """Return the texts and numbers of a frame in order, each with its role."""
    nodes = session.send("Accessibility.getFullAXTree", {"frameId": frame})["nodes"]
    by_id = {node["nodeId"]: node for node in nodes}
    spoken = []
    waiting = [nodes[0]["nodeId"]]
    while waiting:
        node = by_id.get(waiting.pop())
        if node is None:
            continue
        role = node.get("role", {}).get("value")
        if role in ("StaticText", "ListMarker", "image", "img"):
            spoken.append((role, node.get("name", {}).get("value", "")))
        else:
            waiting += reversed(node.get("childIds", []))
    return spoken


def _compared(original, form, *, is_spoken):
    """Yield how what is read in an original differs from its form. `is_spoken` is
    whether all its words must be in the form: a preheader is not.
    """
    for url in sorted(original.loads - form.loads):
        yield f"loads {url}"
    if original.numbers != form.numbers:
        yield f"numbers {original.numbers} as {form.numbers}"
    if is_spoken and original.spoken != form.spoken:
        yield f"spoken {original.spoken[:80]} as {form.spoken[:80]}"
    for word, other in zip_longest(original.words, form.words):
        if word is None or other is None or word.text != other.text:
            yield f"words {word and word.text} as {other and other.text}"
            return
        if word.link != other.link:
            yield f"link {word.text}: {word.link} as {other.link}"
        if word.ink is None or other.ink is None or word.ink == other.ink:
            continue
        if word.has_line != other.has_line:
            yield f"line through {word.text}: {word.has_line}"
        if _distance(word.ink, other.ink) > SIMILAR:
            yield f"drawn otherwise: {word.text}"
    steps = zip(pairwise(original.words), pairwise(form.words), strict=True)
    for (before, word), (other_before, other) in steps:
        place = word.stands_after(before)
        other_place = other.stands_after(other_before)
        if place != other_place:
            yield f"order {word.text} {place} {before.text}, in the form {other_place}"


def _distance(ink, other):
    # Returns how far two pictures of one word differ.
    size = (48, 16)
    difference = ImageChops.difference(
        _strokes(ink).resize(size), _strokes(other).resize(size)
    )
    return difference.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))


def new_letters():
    """Return the letters of new_css.txt by their names."""
    entries = (HERE / "new_css.txt").read_text().rstrip("\n").split("\n---\n")
    letters = {}
    for entry in entries:
        name, _, letter = entry.partition("\n")
        letters[name.removeprefix("# ")] = letter
    return letters


def corpus_letters():
    """Return the HTML of the corpus by its names."""
    paths = sorted(CORPUS.rglob("*.html"))
    letters = {path.stem: path.read_text() for path in paths}
    mails = [mail for mail in all_mails() if mail.content.html is not None]
    letters.update((mail.name, mail.body) for mail in (*mails, *all_letters()))
    return letters


def exact_forms(letters):
    """Return the simple forms, by letter, of those that are called exact."""
    forms = {}
    for letter in letters:
        with suppress(TooComplex):
            form = simplify(letter)
            if form.is_exact:
                forms[letter] = form
    return forms


if __name__ == "__main__":
    judge = ExactJudge()
    for letters in (new_letters(), corpus_letters()):
        forms = exact_forms(letters.values())
        different = judge.differences(forms)
        for name, letter in letters.items():
            if letter in different:
                print(name, *different[letter][:4], letter, sep="\n", end="\n\n")
        print(f"{len(forms)} of {len(letters)} are exact, {len(different)} differ.")
    judge.close()
