"""The rule about letters in two parts: what the HTML says, the text must say too."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from common.fingerprint import Content
from rendering import Link, ShownLetter, show_letter
from risk.findings import Finding, finding, one_word
from risk.places import PARTS

# Groups of three may be parted by spaces or apostrophes, anything by points and commas.
_NUMBER = re.compile(
    r"[0-9]{1,3}(?:[ '’\u00a0\u202f\u2009][0-9]{3}){1,10}(?![0-9])(?:[.,][0-9]{1,2}(?![0-9]))?"
    r"|[0-9]+(?:[.,][0-9]+){0,20}"
)
_CENTS = re.compile(r"[.,]([0-9]{1,2})$")
_MAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_WORD = re.compile(r"[^\W\d_]{2,40}")

# Share of words that both parts have in common, below which they are two different letters.
ALIKE = 0.6


def differing(content: Content, shown: ShownLetter) -> Iterator[Finding]:
    """HTML and Markdown of one letter that differ in their numbers, or in most of their words."""
    if content.html is None or not content.markdown or shown.doubt:
        return
    written = show_letter(replace(content, html=None, additions={}))
    signed = show_letter(replace(content, html=None))
    in_html, in_text = numbers(shown.plain), numbers(written.plain)
    only_html, only_text = in_html - numbers(signed.plain), in_text - in_html
    if only_html or only_text:
        detail = "; ".join(
            f"only the {part} says {', '.join(sorted(found)[:5])}"
            for part, found in (("HTML", only_html), ("text", only_text))
            if found
        )
        evidence = [f"HTML: {n}" for n in sorted(only_html)] + [f"text: {n}" for n in sorted(only_text)]
        sentence = "The HTML and the text of this message give different numbers."
        yield finding("parts_differ", sentence, f"{detail[0].upper()}{detail[1:]}.", evidence, anchor=PARTS)
    elif only_there := _named_in(signed) - _named_in(shown):
        sentence = "The text of this message names addresses that its HTML does not."
        detail = f"Only the text says {', '.join(map(one_word, sorted(only_there)[:5]))}."
        yield finding("parts_differ", sentence, detail, sorted(only_there), "notice", anchor=PARTS)
    elif overlap(shown.plain, signed.plain) < ALIKE:
        sentence = "The HTML and the text of this message are worded differently."
        yield finding("parts_differ", sentence, "Compare them on the page.", level="notice", anchor=PARTS)


def _named_in(shown: ShownLetter) -> set[str]:
    """Return the mail addresses and hosts that a letter says or leads to; HTML may name more than its text does."""
    said = {mail.lower() for mail in _MAIL.findall(shown.plain[:500_000])}
    return said | {link.target[7:].partition("?")[0].lower() if _is_mail(link) else link.host for link in shown.links}


def _is_mail(link: Link) -> bool:
    return link.target[:7].lower() == "mailto:"


def numbers(text: str) -> set[str]:
    """Return the numbers in a text in one spelling: no separators, cents only where they are not zero."""
    found = set()
    for match in _NUMBER.findall(text[:500_000]):
        cents = _CENTS.search(match)
        whole = match[: cents.start()] if cents else match
        digits = re.sub(r"[^0-9]", "", whole).lstrip("0") or "0"
        rest = cents.group(1).rstrip("0") if cents else ""
        found.add(f"{digits}.{rest}" if rest else digits)
    return found


def overlap(first: str, second: str) -> float:
    """Return the share of words that two texts have in common, from 0 to 1."""
    one, other = (Counter(w.lower() for w in _WORD.findall(text[:500_000])) for text in (first, second))
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 1.0
