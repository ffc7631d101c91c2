"""The hosts and mail addresses that a text names to those who read it, however their dots are written."""

import re
import unicodedata
from typing import NamedTuple

from common.domains import has_known_suffix
from rendering.invisibles import stripped

# What is read as a dot: the dots of IDNA, and the characters that Unicode lists as confusable with one.
_DOTS = "。．｡․﹒܁܂꘎𐩐٠۰۔ꓸ𝅭"
# Scripts without letters that pass for Latin ones, many of them written without spaces: a host ends where they begin.
_APART = (
    "\u0590-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
_THIN = "[\u2006-\u200a]{0,3}"
_DOT = re.compile(rf"{_THIN}[.{_DOTS}]{_THIN}")
_DOT_IN_WORDS = re.compile(r"\s?[\[({]\s?(?:\.|dot)\s?[\])}]\s?|%2e", re.IGNORECASE)
# The full stop of a sentence in such a script, and not a dot of a host.
_FULL_STOP = re.compile(rf"(?<=[{_APART}])[{_DOTS}]|[{_DOTS}](?=[{_APART}])")
_SEAM = re.compile(rf"(?<=[{_APART}])-?(?=[a-z0-9])|(?<=[a-z0-9])-?(?=[{_APART}])", re.IGNORECASE)

# Possessive, and begun only where a word begins: the time is linear whatever the text is.
_NAMED = re.compile(
    r"(?<![\w-])(?<![\w-]\.)[_.+-]*+(?P<scheme>https?:[/\\]{1,3}(?:[^\s/@]{1,64}@)?)?"
    r"(?:(?P<local>[\w.+%!'-]{1,64}+)@)?(?P<host>[^\W_][\w-]*+(?:\.[\w-]++)++)(?!\.*@)",
    re.IGNORECASE,
)
_FILE_ENDINGS = frozenset(
    "js ts py md rs sh rb txt pdf doc docx xls xlsx csv png jpg jpeg gif svg html htm xml json yaml yml zip tar gz exe "
    "php jsp asp aspx css ini toml mp3 mp4 mov eml".split()
)


class NamedHost(NamedTuple):
    """A host in lower case as a text names it, and what stands before its @ where it is part of a mail address.

    From `start` to `end` it is said in the text that `readable` gives.
    """

    host: str
    local: str
    start: int
    end: int

    @property
    def said(self) -> str:
        """The host or the whole mail address."""
        return f"{self.local}@{self.host}" if self.local else self.host


def readable(text: str) -> str:
    """Return `text` as it reads: without invisible characters, and with every kind of dot as a dot."""
    text = stripped(text)
    if not text.isascii():
        text = _DOT.sub(".", _FULL_STOP.sub(" ", text))
        text = _SEAM.sub(" ", unicodedata.normalize("NFKC", text))
    return _DOT_IN_WORDS.sub(".", text)


def hosts_named(text: str) -> list[NamedHost]:
    """Return what a readable text names: with a scheme, www or an @, or by a suffix that exists."""
    found = []
    for match in _NAMED.finditer(text):
        labels = match["host"].lower().split(".")
        while len(labels) > 1 and not (len(labels[-1].rstrip("-_")) > 1 and labels[-1][0].isalpha()):
            labels.pop()
        host, local = ".".join(labels).rstrip("-_"), (match["local"] or "").lower()
        is_sure = match["scheme"] or local or host.startswith("www.")
        is_file = labels[-1] in _FILE_ENDINGS and not is_sure
        if len(labels) > 1 and not is_file and (is_sure or has_known_suffix(host)):
            start = match.start("local" if local else "host")
            found.append(NamedHost(host, local, start, match.start("host") + len(host)))
    return found


def hosts_across(before: str, text: str, after: str) -> list[NamedHost]:
    """Return the hosts that a text names together with the words it runs into, and neither of them by itself."""
    before, text, after = readable(before), readable(text), readable(after)
    before = "" if _SEAM.search(before[-2:] + text[:2]) else before
    after = "" if _SEAM.search(text[-2:] + after[:2]) else after
    edges = (len(before), len(before + text))
    named = hosts_named(before + text + after)
    return [one for one in named if any(one.start < edge < one.end for edge in edges)]
