"""Rules about what the letter shows and hides: lying links, hidden text, invisible characters, remote content."""

import re
from collections import Counter
from collections.abc import Iterator

from common.fingerprint import FIELDS, Content
from rendering import Link, ReorderedText, ShownLetter, found_in
from rendering.invisibles import BIDI, ORDINARY
from rendering.links import short_target
from risk.findings import Finding, counted, finding, one_word, quoted
from risk.lookalikes import passes_for_latin
from risk.places import ADDRESSES, ATTACHMENTS, LINKS, SHEET, SUBJECT, marked
from risk.rules import Level

_ODD = {
    "unusual_scheme": "does not open a web page",
    "credentials_in_url": "has a name before the @ that is not where it goes",
    "ip_address": "goes to a bare number instead of a name",
    "disguised_dot": "has a dot in its address that is written as another character",
    "mixed_script": "mixes letters of different scripts",
    "passes_for_latin": "is written in letters that pass for Latin ones",
    "punycode": "has letters outside plain Latin in its name",
    "unusual_port": "goes to an unusual port",
}
_LETTERS = frozenset({"passes_for_latin", "punycode"})
_MISLEADING = frozenset({"credentials_in_url", "disguised_dot", "mixed_script", "passes_for_latin"})
_ACTING = ("javascript:", "vbscript:", "data:", "file:")
_FIELD_NAMES = {
    "reply_to": "Reply-To",
    "cc": "Cc",
    "bcc": "Bcc",
    "html": "HTML",
    "markdown": "text",
    "in_reply_to": "the message it answers",
    "send_at": "sending time",
    "from": "From",
    "from_name": "the sender's name",
    "to": "To",
    "additions": "what the mailbox adds",
}
# Loose at its ends: some programs read what others do not.
_ENCODED_WORD = re.compile(r"=\?[\w.*:-]{1,60}\?[bq]\?[^?]{0,2000}\?=", re.IGNORECASE)
# Where what stands in a field, or is missing from it, is looked for.
_PLACES = {
    "subject": SUBJECT,
    "addresses": ADDRESSES,
    "file names": ATTACHMENTS,
    **dict.fromkeys(("to", "cc", "bcc", "from", "from_name", "reply_to"), ADDRESSES),
    "attachments": ATTACHMENTS,
}


def lying_links(content: Content, shown: ShownLetter) -> Iterator[Finding]:
    """Links whose text names another address than the one they open."""
    lying = [link for link in shown.links if "text_says_other_domain" in link.flags]
    if not lying:
        return
    sentence = "A link's text says another address" if len(lying) == 1 else f"{len(lying)} links say another address"
    first = lying[0]
    yield finding(
        "link_text_lies",
        f"{sentence} than the one it opens." if len(lying) == 1 else f"{sentence} than they open.",
        f"{quoted(first.claim)} goes to {one_word(short_target(first.target)[:120])}.",
        (f"{link.claim} → {link.target}" for link in lying),
        anchor=marked(first.mark, LINKS),
    )


def odd_links(content: Content, shown: ShownLetter) -> Iterator[Finding]:
    """Links whose address is written so that a reader takes it for another."""
    for flag, words in _ODD.items():
        odd = [link for link in shown.links if flag in (_seen_in(link) if flag in _LETTERS else link.flags)]
        if not odd:
            continue
        acting = any(link.target.lower().startswith(_ACTING) for link in odd)
        level: Level = "high" if acting or flag in _MISLEADING else "notice"
        targets = [short_target(link.target) for link in odd]
        anchor = marked(odd[0].mark, LINKS)
        yield finding("odd_link", f"A link {words}.", f"{one_word(targets[0][:120])}.", targets, level, anchor=anchor)


def _seen_in(link: Link) -> tuple[str, ...]:
    """Return what is odd about the letters of a link's host; those that pass for Latin are more than foreign."""
    if "punycode" not in link.flags or "mixed_script" in link.flags:
        return link.flags
    return ("passes_for_latin",) if passes_for_latin(link.host) else link.flags


def hidden_text(content: Content, shown: ShownLetter) -> Iterator[Finding]:
    """Text that the recipient would not see: certain, or depending on the mail program."""
    for certain, level in ((True, "high"), (False, "notice")):
        found = [h for h in shown.hidden if h.certain == certain]
        if not found:
            continue
        words = sum(len(h.text.split()) for h in found)
        ways = ", ".join(dict.fromkeys(h.how for h in found[:20]))
        are = "is" if words == 1 else "are"
        sentence = f"{counted(words, 'hidden word')}."
        if not certain:
            sentence = f"{counted(words, 'word')} {are} shown to some recipients only."
        if not words:
            sentence = "A part of the text is not shown as it is written."
        evidence = (f"{h.text} ({h.how})" for h in found)
        anchor = marked(next((h.mark for h in found if h.mark), ""))
        yield finding("hidden_text", sentence, f"{ways[:1].upper()}{ways[1:]}.", evidence, level, anchor=anchor)  # type: ignore[arg-type]


def reordered_text(content: Content, shown: ShownLetter) -> Iterator[Finding]:
    """Text that is laid out so that its recipient reads other sentences than stand in the message."""
    for certain, level in ((True, "high"), (False, "notice")):
        found = [one for one in shown.reordered if one.certain == certain]
        if not found:
            continue
        first, more = found[0], f" {counted(len(found) - 1, 'more part')}." if len(found) > 1 else ""
        detail = f"{_sentence(first.how)} Written: {quoted(first.written, 240)}. {_read(first)}{more}"
        evidence = (f"{_sentence(one.how)} Written: {quoted(one.written, 140)}. {_read(one, 110)}" for one in found)
        where = "" if certain else " in some windows or mail programs"
        yield finding(
            "reordered_text",
            f"Laid out in another order{where}.",
            detail,
            evidence,
            level,  # type: ignore[arg-type]
            anchor=marked(first.mark),
        )


def _read(one: ReorderedText, most: int = 240) -> str:
    if one.read:
        return f"The recipient may read: {quoted(one.read, most)}."
    return _sentence(one.as_read())


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def encoded_words(content: Content, shown: ShownLetter) -> Iterator[Finding]:
    """Header text in the code of RFC 2047, which mail programs read as other text than stands here."""
    people = (content.reply_to or "", content.sender, *content.to, *content.cc, *content.bcc)
    fields = {
        "subject": (SUBJECT, (content.subject,)),
        "names": (ADDRESSES, (content.sender_name, *people)),
        "file names": (ATTACHMENTS, tuple(attachment.name for attachment in content.attachments)),
    }
    for where, (anchor, texts) in fields.items():
        coded = [text for text in texts if _ENCODED_WORD.search(text)]
        if coded:
            sentence = f"The {where} may be read as other words than stand here."
            detail = f"{quoted(coded[0])} is code that mail programs turn into text."
            yield finding("hidden_text", sentence, detail, coded, anchor=anchor)


def invisible_characters(content: Content, shown: ShownLetter) -> Iterator[Finding]:
    """Characters that show nothing but change what is read, in body, subject, addresses and file names."""
    places = {"body": Counter(shown.invisibles), "subject": found_in(content.subject)}
    addresses = (content.sender, content.reply_to or "", *content.to, *content.cc, *content.bcc)
    places["addresses"] = sum(map(found_in, addresses), Counter())
    places["file names"] = sum((found_in(a.name) for a in content.attachments), Counter())
    total: Counter[str] = sum(places.values(), Counter())
    if not total:
        return
    where = [place for place, counts in places.items() if counts]
    named = ", ".join(f"{name.lower()} × {number}" for name, number in total.most_common(4))
    outside_body = any(place != "body" for place in where)
    harmless = set(total) <= ORDINARY and not outside_body
    sentence = f"{counted(total.total(), 'character')} in the {' and '.join(where)} cannot be seen."
    if turned := [place for place, counts in places.items() if set(counts) & BIDI]:
        sentence = f"Characters in the {' and '.join(turned)} turn the order of reading round."
    evidence = (f"{place}: {dict(counts)}" for place, counts in places.items() if counts)
    level: Level = "notice" if harmless else "high"
    anchor = marked(shown.inked) if where[0] == "body" else _PLACES[where[0]]
    yield finding("invisible_characters", sentence, f"{named}.", evidence, level, anchor=anchor)


def remote_content(content: Content, shown: ShownLetter) -> Iterator[Finding]:
    """Pictures and the like that would be fetched when the recipient opens the letter, and tell that it was opened."""
    if not shown.blocked:
        return
    hosts = list(dict.fromkeys(b.host for b in shown.blocked if b.host))
    kinds = ", ".join(f"{kind} × {n}" for kind, n in Counter(b.kind for b in shown.blocked).most_common())
    sentence = f"The message would load {counted(len(shown.blocked), 'thing')} from elsewhere."
    where = f" from {', '.join(map(one_word, hosts[:3]))}" if hosts else ""
    anchor = marked(next((b.mark for b in shown.blocked if b.mark), ""))
    evidence = (f"{b.kind}: {b.url}" for b in shown.blocked)
    yield finding("remote_content", sentence, f"{kinds}{where}.", evidence, anchor=anchor)


def shown_as_source(content: Content, shown: ShownLetter) -> Iterator[Finding]:
    """The letter could not be laid out, so nobody has seen it as its recipient will."""
    if shown.doubt:
        sentence = "The message is shown as its source."
        yield finding("shown_as_source", sentence, f"Because {shown.doubt}.", anchor=SHEET)


def not_visible(content: Content, shown: ShownLetter) -> Iterator[Finding]:
    """Fields that the connection's key does not let the desk read."""
    missing = [name for name in FIELDS if name not in content.coverage]
    if missing:
        names = [_FIELD_NAMES.get(name, name) for name in missing]
        sentence = "Some of this message is not visible with this key."
        anchor = next((_PLACES[name] for name in missing if name in _PLACES), SHEET)
        yield finding("not_visible", sentence, f"{', '.join(names)}.", missing, anchor=anchor)
