"""The parser's job that examines a message: it answers with the findings about what the
message says, its sums and its shape, as JSON.
"""

from dataclasses import replace
from urllib.parse import unquote

from common.additions import FOOTER
from common.fingerprint import Content, content_from_json
from common.words import words_of
from parsing.jobs import json_job
from rendering import ParsedContent
from rendering.links import (
    MAX_WRITTEN_OUT,
    hosts_in,
    origin_of,
    recipients_of,
    short_target,
)
from rendering.render import parse_content
from rendering.result import TAG, Link
from risk import check_content, check_files, check_greeting, check_secrets
from risk.examined import Examined
from risk.findings import Check, RiskContext, run_checks, written_links
from risk.lookalikes import skeleton
from risk.similarity import amounts, shape
from risk.sums import sums_of

# In one message, more hosts than this are not stored.
MOST_HOSTS = 200
# Each check has the name of the rule whose findings it yields, except `encoded_words`,
# which yields findings of `looks_different`.
CHECKS: tuple[Check, ...] = (
    check_content.name_says_address,
    check_greeting.greeting_differs,
    check_content.link_text_lies,
    check_content.odd_link,
    check_content.looks_different,
    check_content.encoded_words,
    check_content.invisible_characters,
    check_content.remote_content,
    check_content.cut_by_gmail,
    check_content.shown_as_source,
    check_content.not_visible,
    check_secrets.secret_in_body,
    check_secrets.payment_details,
    check_content.parts_differ,
    check_files.attachment_runs_code,
    check_content.program_in_text,
)


def examine(content: Content) -> Examined:
    """Return what the desk stores about a content, as far as the content says it."""
    parsed = parse_content(content)
    context = RiskContext(text_part=parsed.text_part, differences=parsed.differences)
    sums = sums_of(content, parsed)
    return Examined(
        # The document is long, and not needed to look for words.
        shown=replace(parsed.shown, document=""),
        words=parsed.words,
        findings=run_checks(CHECKS, content, parsed.shown, context),
        sums=sums,
        amounts=amounts(sums),
        shape=shape(content, parsed),
        hosts=hosts(content, parsed),
        links=sorted(set(map(spelled, links_of(content, parsed)))),
        has_pictures=any("<img " in one.document for one in parsed.renderings),
    )


def links_of(content: Content, parsed: ParsedContent) -> list[Link]:
    """Return the links of a message in all its parts."""
    return [link for one in parsed.renderings for link in written_links(content, one)]


def spelled(link: Link) -> str:
    """Return the words of a link and where it leads, the same for all spellings of
    them: without the scheme and port of a web page, what follows a #, and a last slash.
    """
    where = short_target(link.target)
    if where != link.target:
        path = where.replace("\\", "/").partition("/")[2]
        where = f"{link.host}/{path}"
    where = unquote(where).partition("#")[0].rstrip("/").lower()
    return " ".join((*map(skeleton, words_of(link.text)), where))


def hosts(content: Content, parsed: ParsedContent) -> list[str] | None:
    """Return where the links of a message lead, in all its parts, and which hosts its
    text names: mail programs make links of those too. None if there are very many, or
    if a part is only shown as its source.
    """
    for one in parsed.renderings:
        written_out = sum(link.written_out for link in one.links)
        if one.doubt or written_out >= MAX_WRITTEN_OUT:
            return None
    found = set()
    for link in links_of(content, parsed):
        found.add(link.host or origin_of(link.target))
        if link.target.lower().startswith("mailto:"):
            written_to = recipients_of(link.target)
            found.update(one.rpartition("@")[2] for one in written_to)
    found.discard("")
    bodies = [one.text for one in parsed.outlines]
    # These quote links that were left out, such as one to //evil.example.
    notes = [each.how for one in parsed.renderings for each in one.differences]
    # Mail programs make links of what a mailbox adds, too.
    added = [content.additions.get(name, "") for name in ("signature", *FOOTER)]
    for text in (content.subject, content.markdown or "", *bodies, *notes, *added):
        # A tag may stand within a host, and between a host and the next word.
        for plain in {text.replace(TAG, ""), text.replace(TAG, " ")}:
            found |= hosts_in(plain)
    return sorted(found) if len(found) <= MOST_HOSTS else None


JOBS = {
    "examine_content": json_job(
        lambda content: examine(content_from_json(content)), seconds=10
    )
}
