"""Marks passages of a message, such as a sum for which a rule of the policy applies, in
the document that the desk shows.
"""

import html
from collections.abc import Iterable, Iterator

from common.ascii import lowered

# How many passages are marked in a document.
MOST = 20


def with_marks(document: str, passages: Iterable[str]) -> tuple[str, dict[str, str]]:
    """Return a drawn document with a mark around the first place of each passage, and
    the ids of the marks by passage. A passage that is not there within one element is
    left out. ASCII letters of either case are the same.
    """
    head, body, rest = document.partition("<body")
    pieces = list(_pieces(body + rest))
    ids: dict[str, str] = {}
    for number, passage in enumerate(list(dict.fromkeys(passages))[:MOST], start=1):
        wanted = lowered(html.escape(passage, quote=False))
        for place, (is_text, piece) in enumerate(pieces):
            at = lowered(piece).find(wanted) if is_text and wanted else -1
            if at < 0:
                continue
            end = at + len(wanted)
            ids[passage] = f"rule-{number}"
            marked = f'<span id="rule-{number}" class="because">{piece[at:end]}</span>'
            pieces[place : place + 1] = [
                (True, piece[:at]),
                (False, marked),
                (True, piece[end:]),
            ]
            break
    return head + "".join(piece for _, piece in pieces), ids


def _pieces(document: str) -> Iterator[tuple[bool, str]]:
    """Yield the texts (True) and tags (False) of a drawn document, in order. Values of
    attributes are in double quotes and may have any other sign.
    """
    at = 0
    while (start := document.find("<", at)) >= 0:
        yield True, document[at:start]
        end = document.find(">", start)
        inside = start
        while end >= 0 and (quote := document.find('"', inside, end)) >= 0:
            inside = document.find('"', quote + 1) + 1
            # A value that has no end: the rest is left as it is.
            end = document.find(">", inside) if inside else -1
        at = end + 1 if end >= 0 else len(document)
        yield False, document[start:at]
    yield True, document[at:]
