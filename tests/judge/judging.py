"""Chromium as the judge of messages: which words cannot be read, or stand at another
place than in the source. `python -m tests.judge.judging 10000 7` judges that many, drawn
by lot from this seed.
"""

import re
import sys
from contextlib import suppress
from itertools import islice, product
from pathlib import Path

from playwright.sync_api import sync_playwright

from launcher.quality import find_chromium
from rendering.texts import words_of
from simple_form import TooComplex, simplify
from tests.judge.letters import many

WIDTHS = (320, 800, 1400)
# What is put before a page, by colour scheme.
HEADS = {"light": "", "dark": "<meta name=color-scheme content=dark>"}
# Frames on one page.
AT_ONCE = 40
SCRIPT = (Path(__file__).parent / "words.js").read_text().rstrip().removesuffix(";")


class Judge:
    """Draws HTML in a browser of its own."""

    def __init__(self):
        self._playwright = sync_playwright().start()
        browser = self._playwright.chromium.launch(
            executable_path=find_chromium(),
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        self._pages = {}
        for scheme in HEADS:
            page = browser.new_context(color_scheme=scheme).new_page()
            page.route("**/*", lambda route: route.abort())
            page.set_content("<!doctype html><body style='margin:0'>")
            self._pages[scheme] = page

    def close(self):
        self._playwright.stop()

    def wrong_with(self, sources, schemes=tuple(HEADS)):
        """Return by page what is wrong with its words."""
        found = {source: set() for source in sources}
        starts = range(0, len(sources), AT_ONCE)
        for scheme, width, start in product(schemes, WIDTHS, starts):
            part = sources[start : start + AT_ONCE]
            drawn = [HEADS[scheme] + one for one in part]
            given = {"pages": drawn, "width": width, "dark": scheme == "dark"}
            answers = self._pages[scheme].evaluate(SCRIPT, given)
            for source, answer in zip(part, answers, strict=True):
                found[source].update(f"{scheme} {width} {one}" for one in answer)
        return found

    def wider(self, sources, width=WIDTHS[0]):
        """Return the pages that are wider than a window with this width."""
        page = self._pages["light"].context.new_page()
        page.route("**/*", lambda route: route.abort())
        page.set_viewport_size({"width": width, "height": 400})
        found = []
        for source in sources:
            page.set_content(f"<!doctype html>{source}")
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found.append(source)
        page.close()
        return found

    def misses(self, letters):
        """Return by letter what is wrong with its simple form, with the original if that
        counts as the same, and its words that are neither written nor named.
        """
        forms = {}
        for letter in letters:
            with suppress(TooComplex):
                forms[letter] = simplify(letter)
        drawn = self.wrong_with([form.html for form in forms.values()])
        same = [letter for letter, form in forms.items() if not form.changes]
        originals = self.wrong_with(same, ["light"])
        missed = {}
        for letter, form in forms.items():
            told = [words_of(form.html), *(one.passage for one in form.changes)]
            lost = set(re.findall(r"\w+", words_of(letter)))
            lost -= set(re.findall(r"\w+", " ".join(told)))
            wrong = sorted(drawn[form.html])
            wrong += [f"original {one}" for one in originals.get(letter, ())]
            wrong += [f"lost: {word}" for word in lost]
            if wrong:
                missed[letter] = wrong
        return missed


if __name__ == "__main__":
    judge = Judge()
    letters = many(int(sys.argv[1]), seed=sys.argv[2])
    while part := list(islice(letters, 400)):
        for html, wrong in judge.misses(part).items():
            print(wrong[:5], html, sep="\n", end="\n\n", flush=True)
    judge.close()
