"""Checks a message for the words, phrases and patterns that admins look for."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

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
from risk.phrases import Match, OwnPhrase, SearchedText
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

    def anchor_of(self, match: Match) -> str:
        """Return the anchor of words that were found here."""
        return (
            f"#word-{match.place}-{len(match.found.split())}"
            if self.is_drawn
            else self.anchor
        )


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
    found = 0
    for one in context.own_phrases:
        matches = _matches(places, one)
        if matches and found < MOST:
            found += 1
            yield _finding(one, matches)


def _matches(places: list[Place], one: OwnPhrase) -> list[tuple[Place, Match]]:
    looked_in = (
        (place, place.text.find(one.phrase))
        for place in places
        if place.kind in one.looks_in
    )
    return [(place, match) for place, match in looked_in if match]


def _finding(one: OwnPhrase, matches: list[tuple[Place, Match]]) -> Finding:
    where = places_in_words({place.kind for place, _ in matches})
    sentence = f"{quoted(one.phrase.text)} is in {where}."
    contexts = list(dict.fromkeys(quoted(str(match), 200) for _, match in matches))
    detail = "" if contexts[0] == quoted(one.phrase.text) else f"{contexts[0]}."
    place, match = matches[0]
    found = finding(
        "own_word", sentence, detail, contexts, anchor=place.anchor_of(match)
    )
    level: Level = "high" if one.points >= HIGH else "notice"
    return replace(found, level=level, points=one.points)


def _places(content: Content, rendered: RenderedMessage) -> list[Place]:
    # What was left out does not stand in the plain text.
    left_out = [one for one in rendered.differences if one.passage]
    written = [
        *(
            Place("text", SearchedText(one.passage), mark_anchor(one.mark))
            for one in left_out
        ),
        Place("text", SearchedText(rendered.plain), SHEET, is_drawn=not rendered.doubt),
    ]
    if content.markdown:
        written.append(
            Place(
                "text",
                SearchedText(content.markdown),
                PARTS if content.html is not None else SHEET,
            )
        )
    addresses = [
        one
        for one in (
            content.sender,
            content.reply_to,
            *content.to,
            *content.cc,
            *content.bcc,
        )
        if one
    ]
    named = (
        [(f"{content.sender_name} {content.sender}", content.sender)]
        if content.sender_name
        else []
    )
    return [
        Place("subject", SearchedText(content.subject), SUBJECT),
        *written,
        *(
            Place("files", SearchedText(one.name), ATTACHMENTS)
            for one in content.attachments
        ),
        *(
            Place(
                "addresses", SearchedText(text), address_anchor(bare_address(address))
            )
            for text, address in (*named, *((one, one) for one in addresses))
        ),
    ]
