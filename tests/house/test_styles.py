"""A class means one thing: its own rules stand in one style sheet."""

import re
from collections import defaultdict

from tests.house.test_house_rules import ROOT

# The sheet for printing hides what others draw; the sheets of mail and of proofs are
# of documents of their own.
APART = {"print.css", "part.css", "proof.css", "rendered_message.css"}
OWN_RULE = re.compile(r"[a-z]*\.([a-z][\w-]*)(?::[\w-]+)*")


def sheets_by_class(sheets):
    """Return, for each class that a rule styles by itself, the sheets that do."""
    found = defaultdict(set)
    for name, text in sheets.items():
        bare = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        for selectors in re.findall(r"([^{};]+)\{", bare):
            # A rule whose selector is one list in `:is()` is the same as one without it.
            listed = re.sub(r"^\s*:is\(([^()]*)\)\s*$", r"\1", selectors)
            for selector in re.split(r",(?![^(]*\))", listed):
                if own := OWN_RULE.fullmatch(selector.strip()):
                    found[own[1]].add(name)
    return found


def styled_twice(sheets):
    return {name for name, at in sheets_by_class(sheets).items() if len(at) > 1}


def test_no_class_is_styled_in_two_sheets():
    sheets = {
        path.name: path.read_text()
        for path in (ROOT / "static" / "css").glob("*.css")
        if path.name not in APART
    }
    assert styled_twice(sheets) == set()
