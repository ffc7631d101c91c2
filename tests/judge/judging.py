"""Chromium as the judge of messages: which words cannot be read, or stand at another
place than in the source. `python -m tests.judge.judging 10000` judges that many.
"""

import re
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from itertools import islice, product
from pathlib import Path

from playwright.sync_api import sync_playwright

from launcher.quality import find_chromium
from rendering.texts import words_of
from simple_form import TooComplex, simplify
from tests.judge.letters import many

WIDTHS = (320, 800, 1400)
# Frames on one page.
AT_ONCE = 40
_WORD = re.compile(r"\w+")
SCRIPT = (Path(__file__).parent / "words.js").read_text().rstrip().removesuffix(";")


class Judge:
    """Draws HTML in a browser. `judging` makes one."""

    def __init__(self, browser):
        self.pages = {
            scheme: browser.new_context(color_scheme=scheme).new_page()
            for scheme in ("light", "dark")
        }
        for page in self.pages.values():
            page.route("**/*", lambda route: route.abort())
            page.set_content("<!doctype html><body style='margin:0'>")

    def wrong_with(
        self, sources: Sequence[str], schemes=("light", "dark")
    ) -> list[set[str]]:
        """Return for each of these pages what is wrong with its words."""
        found = [set() for _ in sources]
        for scheme, width in product(schemes, WIDTHS):
            for start in range(0, len(sources), AT_ONCE):
                part = sources[start : start + AT_ONCE]
                if scheme == "dark":
                    part = [
                        f"<meta name=color-scheme content=dark>{one}" for one in part
                    ]
                given = {"pages": part, "width": width, "dark": scheme == "dark"}
                answers = self.pages[scheme].evaluate(SCRIPT, given)
                for at, answer in enumerate(answers, start):
                    found[at] |= {f"{scheme} {width} {one}" for one in answer}
        return found

    def misses(self, letters: Sequence[str]) -> dict[str, list[str]]:
        """Return by letter what is wrong with its simple form, with the original if that
        counts as the same, and its words that are neither written nor named.
        """
        forms = []
        for letter in letters:
            try:
                forms.append((letter, simplify(letter)))
            except TooComplex:
                continue
        missed = {}
        drawn = self.wrong_with([form.html for _, form in forms])
        same = [letter for letter, form in forms if not form.changes]
        originals = dict(zip(same, self.wrong_with(same, ["light"]), strict=True))
        for (letter, form), wrong in zip(forms, drawn, strict=True):
            told = " ".join(
                (words_of(form.html), *(one.passage for one in form.changes))
            )
            lost = set(_WORD.findall(words_of(letter))) - set(_WORD.findall(told))
            wrong |= {f"original {one}" for one in originals.get(letter, ())}
            wrong |= {f"lost: {word}" for word in lost}
            again = simplify(form.html)
            if again.html != form.html or again.changes:
                wrong.add("its simple form is another one")
            if wrong:
                missed[letter] = sorted(wrong)
        return missed


@contextmanager
def judging():
    """Yield a judge with its own browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(),
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        yield Judge(browser)
        browser.close()


if __name__ == "__main__":
    with judging() as judge:
        letters = (one.html for one in many(int(sys.argv[1]), seed=sys.argv[2]))
        while part := list(islice(letters, 400)):
            for html, wrong in judge.misses(part).items():
                print(wrong[:5], html, sep="\n", end="\n\n", flush=True)
