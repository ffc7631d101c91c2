"""Checks a message for the words, phrases and patterns that admins look for."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from common.fingerprint import Content
from rendering import RenderedMessage
from risk.addresses import bare_address
from risk.findings import (
    ATTACHMENTS,
    PARTS,
    SHEET,
    SUBJECT,
    Finding,
    RiskContext,
    address_anchor,
    finding,
    mark_anchor,
    quoted,
)
from risk.phrases import OwnPhrase, SearchedText
from risk.rules import Level
from risk.score import HIGH

# Where a phrase is looked for, by the words for it.
PLACES = {
    "subject": "the subject",
    "text": "the text",
    "files": "file names",
    "addresses": "addresses",
}
# How many findings one message gets at most.
MOST = 20


@dataclass(frozen=True)
class Place:
    """A piece of a message in which phrases are looked for, and its anchor on the page.

    `is_drawn`: its words can be marked in the message's frame.
    """

    kind: str
    text: SearchedText
    anchor: str
    is_drawn: bool = False


def places_in_words(kinds: Collection[str]) -> str:
    """Return places for the middle of a sentence: "the subject, the text and file
    names".
    """
    *others, last = [words for kind, words in PLACES.items() if kind in kinds] or [""]
    return f"{', '.join(others)} and {last}" if others else last


def own_word(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """The words that admins look for in this mailbox, each with its own points."""
    if not context.own_phrases:
        return
    places = _places(content, rendered)
    findings = (_finding(one, places) for one in context.own_phrases)
    yield from islice(filter(None, findings), MOST)


def _finding(one: OwnPhrase, places: list[Place]) -> Finding | None:
    matches = [
        (place, match)
        for place in places
        if place.kind in one.looks_in and (match := place.text.find(one.phrase))
    ]
    if not matches:
        return None
    phrase = quoted(one.phrase.text)
    where = places_in_words({place.kind for place, _ in matches})
    contexts = list(dict.fromkeys(quoted(str(match), 200) for _, match in matches))
    detail = "" if contexts[0] == phrase else f"{contexts[0]}."
    place, first = matches[0]
    anchor = place.anchor
    if place.is_drawn:
        anchor = f"#word-{first.place}-{len(first.found.split())}"
    found = finding(
        "own_word", f"{phrase} is in {where}.", detail, contexts, anchor=anchor
    )
    level: Level = "high" if one.points >= HIGH else "notice"
    return replace(found, level=level, points=one.points)


def _places(content: Content, rendered: RenderedMessage) -> list[Place]:
    places = [Place("subject", SearchedText(content.subject), SUBJECT)]
    for one in rendered.differences:
        if one.passage:
            # What was left out does not stand in the plain text.
            anchor = mark_anchor(one.mark)
            places.append(Place("text", SearchedText(one.passage), anchor))
    plain = SearchedText(rendered.plain)
    places.append(Place("text", plain, SHEET, is_drawn=not rendered.doubt))
    if content.markdown:
        anchor = PARTS if content.html is not None else SHEET
        places.append(Place("text", SearchedText(content.markdown), anchor))
    for file in content.attachments:
        places.append(Place("files", SearchedText(file.name), ATTACHMENTS))
    addresses = [content.sender, content.reply_to or "", *content.recipients]
    named = [(text, text) for text in addresses if text]
    if content.sender_name:
        named.insert(0, (f"{content.sender_name} {content.sender}", content.sender))
    for text, address in named:
        anchor = address_anchor(bare_address(address))
        places.append(Place("addresses", SearchedText(text), anchor))
    return places
