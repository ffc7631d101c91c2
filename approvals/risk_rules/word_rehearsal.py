"""Rehearses a word on the messages of the last 30 days: which of them would have had
its finding.

PostgreSQL picks the messages that hold the words at all; each of those is then read.
Messages are not laid out for it, so a word that is split by formatting, or that only a
picture shows, may be missed.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models.functions import Now

from approvals.examination import text_of
from approvals.queue.querysets import queue_messages
from common.actors import Actor
from mirror.models import Mailbox, Message, Revision
from mirror.store import stored_content
from risk.phrases import Phrase, SearchedText, search_terms

LATELY = timedelta(days=30)
# How many messages are looked at, how many are named, how many are read at a time, and
# for how many seconds in all.
MOST = 100_000
NAMED = 10
CHUNK = 500
SECONDS = 4.0


@dataclass(frozen=True)
class WordRehearsal:
    """How many of the newest `looked_at` messages would have had the finding, and the
    newest of those.

    `is_partial`: there are more of the last 30 days, for which there was no time.
    """

    looked_at: int
    found: int
    newest: Sequence[Message]
    is_partial: bool

    @property
    def is_common(self) -> bool:
        """Whether so many would have had it that the finding says little."""
        return self.found >= 10 and self.found * 2 > self.looked_at


def rehearse_word(
    *, phrase: Phrase, looks_in: Collection[str], mailbox: Mailbox | None, actor: Actor
) -> WordRehearsal:
    """Return what a word would have found in the mail of the last 30 days that the
    actor may see. Nothing is written.

    It takes SECONDS and the reading of one chunk at most.
    """
    until = time.monotonic() + SECONDS
    recent = queue_messages().visible_to(actor).filter(revision__isnull=False)
    recent = recent.filter(held_at__gte=Now() - LATELY, changed_at__gte=Now() - LATELY)
    if mailbox is not None:
        recent = recent.filter(mailbox=mailbox)
    total = recent.order_by()[:MOST].count()
    found: list[int] = []
    # Those that hold the phrase's words at all, newest first.
    holding = recent.holding(search_terms(phrase)).in_order("newest")
    keys = list(holding.values_list("pk", flat=True)[:MOST])
    read = (
        queue_messages()
        .select_related("revision")
        .only(
            "changed_at",
            "revision__content",
            "revision__coverage",
            "revision__html_text",
        )
    )
    looked_at = total
    for start in range(0, len(keys), CHUNK):
        chunk = keys[start : start + CHUNK]
        by_key = read.in_bulk(chunk)
        rows = [by_key[key] for key in chunk if key in by_key]
        for message in rows:
            pieces = _pieces(message.revision, looks_in) if message.revision else ()
            if any(SearchedText(text).find(phrase) for text in pieces):
                found.append(message.pk)
        if time.monotonic() > until and len(chunk) == CHUNK:
            later = recent.filter(changed_at__gte=rows[-1].changed_at)
            looked_at = min(total, later.order_by()[:MOST].count())
            break
    named = queue_messages().select_related("mailbox").defer("revision__content")
    messages = named.in_bulk(found[:NAMED])
    newest = [messages[key] for key in found[:NAMED] if key in messages]
    return WordRehearsal(looked_at, len(found), newest, is_partial=looked_at < total)


def _pieces(revision: Revision, looks_in: Collection[str]) -> Iterator[str]:
    """Yield the texts of a version in which a word is looked for."""
    content = stored_content(revision)
    if "subject" in looks_in:
        yield content.subject
    if "text" in looks_in:
        yield text_of(content, revision.html_text)
    if "files" in looks_in:
        yield from (one.name for one in content.attachments)
    if "addresses" in looks_in:
        yield f"{content.sender_name} {content.sender}"
        yield from (*content.to, *content.cc, *content.bcc, content.reply_to or "")
