"""The checks of a message's content: misleading and odd links, text that may look
different to the recipient, remote content, HTML and text that differ, an earlier
rejection of a similar message, and attached files that can run code.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal

from common.additions import text_part
from common.fingerprint import Attachment, Content
from rendering import Link, RenderedMessage, found_in, named, stripped
from rendering.invisibles import BIDI, ORDINARY
from rendering.links import short_target
from rendering.result import NOT_SAFE
from risk.findings import (
    ADDRESSES,
    ATTACHMENTS,
    LINKS,
    PARTS,
    SHEET,
    SUBJECT,
    Finding,
    RiskContext,
    counted,
    finding,
    mark_anchor,
    not_read_safely,
    one_word,
    quoted,
    written_links,
)
from risk.lookalikes import passes_for_latin
from risk.rules import Level
from risk.sums import read_sums

# The flags that the renderer sets on odd links, and the words of the finding.
_ODD = {
    "unusual_scheme": "does not open a web page",
    "credentials_in_url": "has a name before the @ that is not its destination",
    "ip_address": "goes to an IP address instead of a name",
    "disguised_dot": "has a look-alike character instead of a dot in its address",
    "mixed_script": "mixes letters of different scripts",
    "passes_for_latin": "is written in letters that look like Latin ones",
    "punycode": "has non-Latin letters in its name",
    "unusual_port": "goes to an unusual port",
}

# The flags of _ODD for which the finding is not made milder.
_MISLEADING = frozenset(
    {"credentials_in_url", "disguised_dot", "mixed_script", "passes_for_latin"}
)
# Schemes of links that run or open something; a finding about them is never milder.
_ACTING = ("javascript:", "vbscript:", "data:", "file:")
# How a finding names the fields of a message that the connection's key does not show.
_FIELD_NAMES = {
    "reply_to": "Reply-To",
    "cc": "Cc",
    "bcc": "Bcc",
    "html": "HTML",
    "markdown": "text",
    "in_reply_to": "the message it replies to",
    "send_at": "sending time",
    "from": "From",
    "from_name": "the sender's name",
    "to": "To",
    "additions": "what the mailbox adds",
}
# An encoded word such as "=?utf-8?q?Hello?=". Looser than RFC 2047, because some mail
# programs decode more than the RFC allows.
_ENCODED_WORD = re.compile(r"=\?[\w.*:-]{1,60}\?[bq]\?[^?]{0,2000}\?=", re.IGNORECASE)
# The anchor at which the page shows each field.
_ANCHORS = {
    "subject": SUBJECT,
    "addresses": ADDRESSES,
    "file names": ATTACHMENTS,
    **dict.fromkeys(("to", "cc", "bcc", "from", "from_name", "reply_to"), ADDRESSES),
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
    by_flag = defaultdict[str, list[Link]](list)
    for link in written_links(content, rendered):
        flags = set(link.flags)
        is_foreign = "punycode" in flags and "mixed_script" not in flags
        if is_foreign and passes_for_latin(link.host):
            # Letters that look like Latin ones are worse than other non-Latin letters.
            flags.remove("punycode")
            flags.add("passes_for_latin")
        for flag in flags:
            by_flag[flag].append(link)
    for flag, words in _ODD.items():
        odd = by_flag[flag]
        if not odd:
            continue
        acting = any(link.target.lower().startswith(_ACTING) for link in odd)
        is_milder = not acting and flag not in _MISLEADING
        targets = [short_target(link.target) for link in odd]
        anchor = mark_anchor(odd[0].mark, LINKS)
        sentence = f"A link {words}."
        detail = f"{one_word(targets[0][:120])}."
        yield finding(
            "odd_link", sentence, detail, targets, is_milder=is_milder, anchor=anchor
        )


def looks_different(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Words that the original could hide, cover, cut off, move or add, so that the
    recipient reads something else.
    """
    differences = rendered.word_differences
    if not differences:
        return
    first = differences[0]
    about = f": {quoted(first.passage)}" if first.passage else ""
    more = (
        f", and {counted(len(differences) - 1, 'more place')}"
        if len(differences) > 1
        else ""
    )
    evidence = (f"{one.passage} ({one.how}: could {one.does})" for one in differences)
    anchor = mark_anchor(next((one.mark for one in differences if one.mark), ""))
    sentence = f"May look different to the recipient{about}{'' if about.endswith(('.”', '!”', '?”')) else '.'}"
    detail = f"Its style could {first.does}: {first.how}{more}."
    is_milder = all(one.is_preheader for one in differences)
    if is_milder:
        # All differences are hidden words at the beginning, which lists of messages
        # show. They are not milder if they name numbers or mail addresses that are
        # nowhere else.
        plain = " ".join(rendered.plain.split()).replace(first.passage, " ", 1)
        elsewhere = f"{content.subject} {plain}"
        only_there = _mails_in(first.passage) - _mails_in(elsewhere)
        only_there |= numbers(first.passage) - numbers(elsewhere)
        if only_there:
            detail = f"Lists of messages show it beside the subject. Only there: {_first(only_there)}."
            is_milder = False
    yield finding(
        "looks_different",
        sentence,
        detail,
        evidence,
        is_milder=is_milder,
        anchor=anchor,
    )


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
    locations = {
        "body": Counter(rendered.invisibles),
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
    harmless = set(total) <= ORDINARY and where == ["body"]
    sentence = (
        f"{counted(total.total(), 'invisible character')} in the {' and '.join(where)}."
    )
    if turned := [location for location in where if set(locations[location]) & BIDI]:
        sentence = (
            f"Characters in the {' and '.join(turned)} reverse the reading order."
        )
    evidence = (f"{location}: {dict(locations[location])}" for location in where)
    anchor = mark_anchor(rendered.inked) if where[0] == "body" else _ANCHORS[where[0]]
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
        anchor=mark_anchor(blocked[0].mark),
    )


def shown_as_source(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """The message could not be rendered, so nobody has seen it as its recipient will.

    If the process that reads it had to be stopped, the finding is `unsafe_content`.
    """
    if rendered.doubt == NOT_SAFE:
        yield not_read_safely("The message")
    elif rendered.doubt:
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
_WORD = re.compile(r"[^\W\d_]{2,40}")

# If HTML and text have a smaller share of their words in common than this, there is a
# finding that they differ.
ALIKE = 0.6


def parts_differ(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """HTML and text of a message that differ in their numbers, in the addresses that
    they name, or in most of their words. Also a sum of money that only the subject
    names.
    """
    text = context.text_part
    if rendered.doubt:
        return
    in_html = numbers(rendered.plain)
    if text is not None:
        in_text = numbers(text.plain)
        details = []
        evidence = []
        for part, only_here in (
            ("HTML", in_html - in_text),
            ("text", in_text - in_html),
        ):
            if only_here:
                details.append(f"only the {part} says {_first(only_here)}")
                evidence += [f"{part}: {number}" for number in sorted(only_here)]
        if details:
            detail = "; ".join(details)
            yield finding(
                "parts_differ",
                "The HTML and text parts of this message have different numbers.",
                f"{detail[0].upper()}{detail[1:]}.",
                evidence,
                anchor=PARTS,
            )
        elif only_there := _named_in(text) - _named_in(rendered):
            yield finding(
                "parts_differ",
                "The text part names addresses that the HTML part does not.",
                f"Only in the text: {_first(map(one_word, only_there))}.",
                sorted(only_there),
                is_milder=True,
                anchor=PARTS,
            )
        elif (
            overlap(rendered.plain, text.plain, text_part("", content.additions))
            < ALIKE
        ):
            yield finding(
                "parts_differ",
                "The HTML and text parts of this message have different wording.",
                "Compare them on the message page.",
                is_milder=True,
                anchor=PARTS,
            )
    only_there = set(read_sums((content.subject,)).named) - in_html
    if only_there and in_html:
        yield finding(
            "parts_differ",
            "The subject names a sum that the message does not.",
            f"Only in the subject: {_first(only_there)}.",
            sorted(only_there),
            is_milder=True,
            anchor=SUBJECT,
        )


def _first(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)[:5])


def _named_in(part: RenderedMessage) -> set[str]:
    """Return the mail addresses in the text of a part, and the mail addresses and hosts
    to which its links lead.
    """
    addresses = _mails_in(part.plain[:500_000])
    for link in part.links:
        target = link.target.lower()
        is_mail = target.startswith("mailto:")
        addresses.add(target[7:].partition("?")[0] if is_mail else link.host)
    return addresses


def _mails_in(text: str) -> set[str]:
    return {mail.lower() for mail in _MAIL.findall(text)}


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


def overlap(first: str, second: str, besides: str) -> float:
    """Return the share of words that two texts have in common, from 0 to 1. The words
    of `besides`, which is in both of them, do not count.
    """
    one, other, in_both = (
        Counter(w.lower() for w in _WORD.findall(text[:500_000]))
        for text in (first, second, besides)
    )
    one = one - in_both
    other = other - in_both
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 1.0


def rejected_before(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """A similar message that was rejected before. By whom and why is only said if it
    was in the same mailbox, so that the reader may know.
    """
    before = context.rejected
    if before is None:
        return
    where = " in another mailbox"
    reason = ""
    evidence: tuple[str, ...] = ()
    if before.in_same_mailbox:
        where = f" by {before.by}" if before.by else ""
        reason = "No reason was given."
        if before.reason:
            reason = f"“{before.reason[:200]}”"
        evidence = (before.public_id,)
    yield finding(
        "rejected_before",
        f"A message with the same text was rejected{where} on {before.at}.",
        reason,
        evidence,
    )


# Endings of files that run code when they are opened.
_RUNS = frozenset(
    "exe scr com bat cmd ps1 psm1 vbs vbe js jse mjs wsf wsh hta msi msp mst msix appx appxbundle jar jnlp lnk url pif "
    "cpl dll sys ocx reg inf scf iso img vhd vhdx dmg pkg app command sh bash run elf apk ipa deb rpm py pyw "
    "pyz pl rb php docm dotm xlsm xlsb xltm xlam xll pptm potm ppam ppsm sldm one chm gadget "
    "application settingcontent-ms library-ms search-ms theme website desktop workflow action xpi crx "
    "scpt ade adp mdb accde rdp msc iqy oqy dqy rqy slk odc diagcab diagpkg appinstaller msixbundle appref-ms ws wsc "
    "sct ps1xml psc1 psd1 job hlp grp xbap xla xlb ppa wll webloc inetloc terminal fileloc scptd vbscript".split()
)
_OPENS_IN_BROWSER = frozenset(
    {"html", "htm", "xhtml", "shtml", "mht", "mhtml", "svg", "svgz", "xml", "xsl"}
)
# Endings that are put before another one, so that a program looks like a document.
_LOOKS_HARMLESS = frozenset(
    "pdf doc docx xls xlsx ppt pptx odt ods txt rtf csv jpg jpeg png gif webp mp3 mp4 zip eml htm html".split()
)
# Declared content types of files that run code.
_TYPES = re.compile(
    r"application/(?:x-(?:msdownload|msdos-program|ms-shortcut|msi|dosexec|executable|sh|shellscript|bat|mach-binary|"
    r"elf|javascript|apple-diskimage|iso9660-image|java-archive|sharedlib)|vnd\.microsoft\.portable-executable|"
    r"java-archive|javascript|hta|vnd\.android\.package-archive|vnd\.ms-[a-z]+\.[a-z.]*macroenabled[a-z.0-9]*)"
    r"|text/(?:javascript|vbscript|x-(?:sh|python|shellscript))",
    re.IGNORECASE,
)


def attachment_runs_code(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Attachments that run code when opened, or that hide what they are."""
    for attachment in content.attachments:
        why, level = why_dangerous(attachment)
        if why:
            name = named(attachment.name)
            is_milder = level == "notice"
            sentence = "An attachment can run code when it is opened."
            if is_milder:
                sentence = "An attachment is a web page that opens in the browser."
            yield finding(
                "attachment_runs_code",
                sentence,
                f"{quoted(name, 120)}: {why}.",
                (name,),
                is_milder=is_milder,
                anchor=ATTACHMENTS,
            )


def why_dangerous(attachment: Attachment) -> tuple[str, Level | Literal[""]]:
    """Return why an attachment can run code when it is opened, and the level of the
    finding; both empty if its name and type do not say so.
    """
    # Windows drops blanks and dots at the end of a name.
    name = (
        re.split(r"[/\\]", stripped(attachment.name))[-1].strip().rstrip(". ").lower()
    )
    endings = name.split(".")[1:]
    ending = endings[-1].strip() if endings else ""
    if set(found_in(attachment.name)) & BIDI:
        return (
            f"its name is reversed to look like another type; it ends in .{one_word(ending)[:40]}",
            "high",
        )
    if ending in _RUNS:
        if len(endings) > 1 and endings[-2].strip() in _LOOKS_HARMLESS:
            return f"named like a .{endings[-2].strip()}, but a .{ending}", "high"
        return f".{ending} files run", "high"
    if _TYPES.match(attachment.content_type.strip()):
        return f"declared as {one_word(attachment.content_type.strip()[:80])}", "high"
    if ending in _OPENS_IN_BROWSER:
        return f".{ending} files can contain scripts", "notice"
    return "", ""
