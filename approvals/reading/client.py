"""How the letter looks where it arrives: as a row of an inbox, as plain text, and on dark paper. Pure."""

from dataclasses import dataclass

from approvals.showing import ShownLetter, named
from approvals.showing.invisibles import without_surrogates
from common.fingerprint import Content
from common.letter import with_signature

PREVIEW = 90
# So much of the text is drawn; all of it stands under "Text".
LINES, LINE = 7, 300


@dataclass(frozen=True)
class Inbox:
    """A letter as a mail program lists it. `is_hidden`: the first words are such as the letter itself does not show."""

    name: str
    address: str
    reply_to: str
    subject: str
    preview: str
    plain: str
    has_own_colours: bool
    is_hidden: bool


def inbox_of(content: Content, letter: ShownLetter) -> Inbox:
    """Return how a mail program would list and draw the letter.

    The words that lists show behind the subject are the first of the letter, also those that it hides from its reader.
    """
    words = " ".join(letter.plain.split())
    preview = words[:PREVIEW]
    # What the recipient's program has for those who read plain text only.
    text = with_signature(content.markdown, content.additions.get("signature")) if content.markdown else letter.text
    hidden = next((h.text for h in letter.hidden if h.certain and h.text), "")
    return Inbox(
        name=content.sender_name,
        address=content.sender,
        reply_to=content.reply_to or "",
        subject=content.subject,
        preview=preview + ("…" if len(words) > PREVIEW else ""),
        plain=_head(named(without_surrogates(text[: LINES * LINE * 4]))),
        has_own_colours='<body class="white">' in letter.document,
        is_hidden=bool(hidden) and words.startswith(hidden[:PREVIEW]),
    )


def _head(text: str) -> str:
    lines = [line[:LINE] for line in text.strip().splitlines()]
    shown = "\n".join(lines[:LINES])
    return shown + ("\n…" if len(lines) > LINES else "")
