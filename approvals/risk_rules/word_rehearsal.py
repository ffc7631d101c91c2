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
from approvals.queue.querysets import QueueQuerySet, queue_messages
from common.actors import Actor
from common.fingerprint import Content
from mirror.models import Mailbox, Message
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
    for chunk, rows in _candidates(recent, phrase):
        found += [
            message.pk for message in rows if _is_found(phrase, looks_in, message)
        ]
        if time.monotonic() > until and len(chunk) == CHUNK:
            looked_at = min(
                total,
                recent.filter(changed_at__gte=rows[-1].changed_at)
                .order_by()[:MOST]
                .count(),
            )
            return WordRehearsal(
                looked_at, len(found), _named(found), is_partial=looked_at < total
            )
    return WordRehearsal(total, len(found), _named(found), is_partial=False)


def _candidates(
    recent: QueueQuerySet, phrase: Phrase
) -> Iterator[tuple[Sequence[int], Sequence[Message]]]:
    """Yield the messages that hold the phrase's words at all, newest first, with their
    versions.
    """
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
    for start in range(0, len(keys), CHUNK):
        chunk = keys[start : start + CHUNK]
        by_key = read.in_bulk(chunk)
        yield chunk, [by_key[key] for key in chunk if key in by_key]


def _is_found(phrase: Phrase, looks_in: Collection[str], message: Message) -> bool:
    if message.revision is None:
        return False
    pieces = _pieces(
        stored_content(message.revision), message.revision.html_text, looks_in
    )
    return any(SearchedText(text).find(phrase) for text in pieces)


def _pieces(
    content: Content, html_text: str, looks_in: Collection[str]
) -> Iterator[str]:
    if "subject" in looks_in:
        yield content.subject
    if "text" in looks_in:
        yield text_of(content, html_text)
    if "files" in looks_in:
        yield from (one.name for one in content.attachments)
    if "addresses" in looks_in:
        yield f"{content.sender_name} {content.sender}"
        yield from (*content.to, *content.cc, *content.bcc, content.reply_to or "")


def _named(keys: Sequence[int]) -> Sequence[Message]:
    messages = (
        queue_messages()
        .select_related("mailbox")
        .defer("revision__content")
        .in_bulk(keys[:NAMED])
    )
    return [messages[key] for key in keys[:NAMED] if key in messages]
