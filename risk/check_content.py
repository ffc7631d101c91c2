"""The checks of a message's content: misleading and odd links, text that may look
different to the recipient, remote content, names that show another address, and HTML
and text that differ. They run in the parser only.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain
from operator import itemgetter

from common.ascii import lowered
from common.fingerprint import Content, normalise_address
from common.tables import table_pairs
from rendering import Link, RenderedMessage, found_in
from rendering.invisibles import BIDI, ORDINARY
from rendering.links import find_hosts, readable, recipients_of, short_target
from rendering.result import Difference
from risk.addresses import domain_of, is_same_registrant, named_addresses
from risk.findings import (
    ADDRESSES,
    ATTACHMENTS,
    LINKS,
    PARTS,
    SHEET,
    SUBJECT,
    Finding,
    RiskContext,
    address_anchor,
    counted,
    finding,
    mark_anchor,
    one_word,
    quoted,
    written_links,
)
from risk.odd_links import Oddity, oddities_of
from risk.sums import read_sums
from simple_form.result import PREHEADER

# How a finding names the fields of a message that the connection's key does not show.
_FIELD_NAMES = table_pairs(
    """
reply_to | Reply-To
cc | Cc
bcc | Bcc
html | HTML
markdown | text
in_reply_to | the message it replies to
send_at | sending time
from | From
from_name | the sender's name
to | To
additions | what the mailbox adds
"""
)
# An encoded word such as "=?utf-8?q?Hello?=". Looser than RFC 2047, because some mail
# programs decode more than the RFC allows.
_ENCODED_WORD = re.compile(r"=\?[\w.*:-]{1,60}\?[bq]\?[^?]{0,2000}\?=", re.IGNORECASE)
# The anchor at which the page shows each field.
_ANCHORS = {
    "subject": SUBJECT,
    "text part": PARTS,
    "addresses": ADDRESSES,
    "file names": ATTACHMENTS,
    **dict.fromkeys("to cc bcc from from_name reply_to".split(), ADDRESSES),
    "attachments": ATTACHMENTS,
}


def link_text_lies(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Links whose text names another address than the one they open."""
    lying = [link for link in rendered.links if "text_says_other_domain" in link.flags]
    if not lying:
        return
    sentence = "A link's text shows a different address from the one it opens."
    if len(lying) > 1:
        sentence = f"{len(lying)} links show different addresses from those they open."
    first = lying[0]
    yield finding(
        "link_text_lies",
        sentence,
        f"{quoted(first.claim)} goes to {one_word(short_target(first.target)[:120])}.",
        (f"{link.claim} → {link.target}" for link in lying),
        anchor=mark_anchor(first.mark, LINKS),
    )


def odd_link(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Links whose address is written in a way that misleads the reader."""
    links = defaultdict[Oddity, list[Link]](list)
    for link in written_links(content, rendered):
        for oddity in oddities_of(link):
            if oddity.level and oddity.flag != "text_says_other_domain":
                links[oddity].append(link)
    for (flag, level, words), odd in links.items():
        is_milder = level == "notice"
        targets = [short_target(link.target) for link in odd]
        if flag == "hidden_recipient":
            others = (recipients_of(link.target)[1:] for link in odd)
            targets = list(dict.fromkeys(chain.from_iterable(others)))
        anchor = mark_anchor(odd[0].mark, LINKS)
        sentence = f"A link {words}."
        detail = f"{one_word(targets[0][:120])}."
        yield finding(
            "odd_link", sentence, detail, targets, is_milder=is_milder, anchor=anchor
        )


def looks_different(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Words that the original hides, or anything else in it that its recipient may see
    differently.
    """
    hidden = rendered.hidden
    listed = tuple(_numbers_in_lists_only(content, rendered))
    different = [one for one in rendered.differences if one.code != PREHEADER]
    shown = hidden or listed or different
    if not shown:
        return
    first = shown[0]
    more = ""
    if shown[1:]:
        more = f", and {counted(len(shown) - 1, 'more place')}"
    sentence = "The recipient may see this differently."
    if hidden or listed:
        about = "Hidden words" if hidden else "Only lists of messages show"
        sentence = f"{about}: {quoted(first.passage)}"
        sentence += "" if first.passage.endswith((".", "!", "?")) else "."
    yield finding(
        "looks_different",
        sentence,
        f"{first.how}{more}.",
        (f"{one.passage} ({one.how})" for one in rendered.differences),
        is_milder=not hidden,
        anchor=mark_anchor(next((one.mark for one in shown if one.mark), "")),
    )


def _numbers_in_lists_only(
    content: Content, rendered: RenderedMessage
) -> Iterator[Difference]:
    """Yield words that only lists of messages show, if they have numbers or mail
    addresses that are nowhere else in the message.
    """
    elsewhere = f"{content.subject} {rendered.plain}"
    mails_elsewhere, numbers_elsewhere = _mails_in(elsewhere), numbers(elsewhere)
    for one in rendered.differences:
        only_there = _mails_in(one.passage) - mails_elsewhere
        only_there |= numbers(one.passage) - numbers_elsewhere
        if one.code == PREHEADER and only_there:
            yield one


def encoded_words(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Header text in the encoding of RFC 2047, which mail programs decode to other
    text.
    """
    names = (
        content.sender_name,
        content.reply_to or "",
        content.sender,
        *content.recipients,
    )
    fields = (
        ("subject", SUBJECT, (content.subject,)),
        ("names", ADDRESSES, names),
        ("file names", ATTACHMENTS, [one.name for one in content.attachments]),
    )
    for where, anchor, texts in fields:
        coded = [text for text in texts if _ENCODED_WORD.search(text)]
        if coded:
            sentence = f"Mail programs may show the {where} differently."
            detail = f"{quoted(coded[0])} is code that mail programs decode into text."
            yield finding("looks_different", sentence, detail, coded, anchor=anchor)


def invisible_characters(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Invisible characters that change what is read, in body, subject, addresses and
    file names.
    """
    addresses = (content.sender, content.reply_to or "", *content.recipients)
    files = (one.name for one in content.attachments)
    text = context.text_part
    locations = {
        "body": Counter(rendered.invisibles),
        "text part": Counter(text.invisibles if text and content.html else ()),
        "subject": found_in(content.subject),
        "addresses": sum(map(found_in, addresses), Counter()),
        "file names": sum(map(found_in, files), Counter()),
    }
    total: Counter[str] = sum(locations.values(), Counter())
    if not total:
        return
    where = [location for location, counts in locations.items() if counts]
    named = ", ".join(
        f"{name.lower()} × {number}" for name, number in total.most_common(4)
    )
    harmless = set(total) <= ORDINARY and where in (["body"], ["text part"])
    sentence = (
        f"{counted(total.total(), 'invisible character')} in the {' and '.join(where)}."
    )
    if turned := [location for location in where if set(locations[location]) & BIDI]:
        sentence = (
            f"Characters in the {' and '.join(turned)} reverse the reading order."
        )
    evidence = (f"{location}: {dict(locations[location])}" for location in where)
    anchor = _ANCHORS.get(where[0]) or mark_anchor(rendered.inked)
    yield finding(
        "invisible_characters",
        sentence,
        f"{named}.",
        evidence,
        is_milder=harmless,
        anchor=anchor,
    )


def remote_content(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Pictures that load from other servers when the recipient opens the message, and
    so report that it was opened.
    """
    blocked = rendered.blocked
    if not blocked:
        return
    hosts = list(dict.fromkeys(one.host for one in blocked if one.host))
    where = f" from {', '.join(map(one_word, hosts[:3]))}" if hosts else ""
    yield finding(
        "remote_content",
        f"The message would load {counted(len(blocked), 'thing')} from other servers.",
        f"picture × {len(blocked)}{where}.",
        (f"picture: {one.source}" for one in blocked),
        anchor=mark_anchor(next((one.mark for one in blocked if one.mark), "")),
    )


def cut_by_gmail(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """HTML of which some mail programs show only the beginning. Without HTML, it is
    made of the text, and longer than that.
    """
    size = len((content.html or content.markdown or "").encode())
    if size > 102_000:
        yield finding(
            "cut_by_gmail",
            "Gmail cuts messages above 102 kB.",
            f"This one has {size // 1000} kB of HTML.",
        )


def shown_as_source(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """The message could not be rendered, so nobody has seen it as its recipient will."""
    if rendered.doubt:
        sentence = "The message is shown as its source."
        reason = f"Reason: {rendered.doubt}."
        yield finding("shown_as_source", sentence, reason, anchor=SHEET)


def not_visible(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Fields that the connection's key does not let the desk read."""
    if missing := content.unseen:
        names = [_FIELD_NAMES.get(name, name) for name in missing]
        yield finding(
            "not_visible",
            "Some of this message is not visible with this key.",
            f"{', '.join(names)}.",
            missing,
            anchor=next(filter(None, map(_ANCHORS.get, missing)), SHEET),
        )


# A number: groups of three digits with blanks or apostrophes between them, or digits
# with any points and commas between them.
_NUMBER = re.compile(
    r"[0-9]{1,3}(?:[ '’\u00a0\u202f\u2009][0-9]{3}){1,10}(?![0-9])(?:[.,][0-9]{1,2}(?![0-9]))?"
    r"|[0-9]+(?:[.,][0-9]+){0,20}"
)
_CENTS = re.compile(r"[.,]([0-9]{1,2})$")
_MAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")


def parts_differ(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Passages of HTML and text that differ. Also a sum of money that only the subject
    names.
    """
    if rendered.doubt:
        return
    differences = sorted(context.differences, key=itemgetter(2))
    evidence = []
    for html, text, _ in differences:
        evidence += [f"HTML: {quoted(html)}", f"text: {quoted(text)}"]
    for html, text, is_title in differences[:1]:
        yield finding(
            "parts_differ",
            "The HTML and text parts of this message say different things.",
            f"The HTML: {quoted(html)}; the text: {quoted(text)}.",
            evidence,
            is_milder=is_title,
            anchor=PARTS,
        )
    in_html = numbers(rendered.plain)
    only_there = set(read_sums((content.subject,)).named) - in_html
    if only_there and in_html:
        yield finding(
            "parts_differ",
            "The subject names a sum that the message does not.",
            f"Only in the subject: {', '.join(sorted(only_there)[:5])}.",
            sorted(only_there),
            is_milder=True,
            anchor=SUBJECT,
        )


def _mails_in(text: str) -> set[str]:
    return set(map(lowered, _MAIL.findall(text)))


def numbers(text: str) -> set[str]:
    """Return the numbers in a text in one spelling: without separators, with cents only
    if these are not zero.
    """
    spelled = set()
    for match in _NUMBER.findall(text[:500_000]):
        cents = _CENTS.search(match)
        whole = match[: cents.start()] if cents else match
        digits = re.sub(r"[^0-9]", "", whole).lstrip("0") or "0"
        rest = cents.group(1).rstrip("0") if cents else ""
        spelled.add(f"{digits}.{rest}" if rest else digits)
    return spelled


# Endings after which a text such as "Acme.ai" is the name of a product, not a domain.
_NO_DOMAINS = frozenset({"cs", "ai"})


def name_says_address(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Display names that contain another mail address or domain than that of the
    address they belong to.
    """
    for address, name, what in named_addresses(content):
        domain = domain_of(address)
        hosts = find_hosts(readable(name))
        claims = [
            one.host
            for one in hosts
            if one.host.rpartition(".")[2] not in _NO_DOMAINS
            and not is_same_registrant(one.host, domain)
        ]
        is_milder = True
        if mails := [one.text for one in hosts if one.local]:
            claimed = [normalise_address(mail).lower() for mail in mails]
            claims = [one for one in claimed if one != address.lower()]
            is_milder = all(domain_of(one) == domain for one in claims)
        if claims and "@" in address:
            yield finding(
                "name_says_address",
                f"The {what} shows a different address from the real one.",
                f"The name is {quoted(name)}; the address is {one_word(address)}.",
                (address, claims[0]),
                is_milder=is_milder,
                anchor=address_anchor(address),
            )


# A file as uuencode writes it, and base64 that begins like a program, an archive or an
# old Office file; and hexadecimal digits that do, longer than any checksum.
_WRITTEN_OUT = re.compile(
    r"(?m)^[ >]*+begin(?:-base64)? [0-7]{3,4} \S.*+\s++[!-z]{9,}+ *+$"
    r"|(?<![\w+/])(?:TV[opqr]|f0VM|IyEv|yv66|TAAAAAEU|UEsD|H4sI|N3q8|UmFy|0M8R)[A-Za-z0-9+/]{40}"
    r"|(?i:(?<![\da-f])(?:4d ?5a|7f ?45 ?4c ?46|50 ?4b ?03 ?04)(?:\s?[\da-f]{2}){70})"
)


def program_in_text(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Programs, or files that may hold some, that are written out in the text."""
    if file := _WRITTEN_OUT.search(f"{content.markdown}\n\n{rendered.plain}"):
        yield finding(
            "program_in_text",
            "The text has a program written out in it.",
            f"It begins {quoted(file[0])}.",
            anchor=SHEET,
        )
