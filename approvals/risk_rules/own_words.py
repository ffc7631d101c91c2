"""Adds, changes and removes the words, phrases and patterns that make a finding of a
chosen weight, and rehearses one on the messages of the last 30 days.

For a rehearsal PostgreSQL picks the messages that hold the words at all; each of those
is then read. Messages are not laid out for it, so a word that is split by formatting,
or that only a picture shows, may be missed.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from approvals.examination import text_of
from approvals.models import OwnWord
from approvals.queue.querysets import queue_messages
from approvals.risk_rules.weighing import have_judged_again, lately
from audit.recording import changed, record
from common.actors import Actor
from common.postgres import take_lock
from mirror.errors import ActNotAllowed, DeskError
from mirror.models import Mailbox, Message, Revision
from mirror.store import stored_content
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from risk.check_words import PLACES, places_in_words
from risk.phrases import Phrase, SearchedText, search_terms

# How many words each mailbox may have, and how many may count in all of them.
MOST = 100
# How many messages are looked at, how many are named, how many are read at a time, and
# for how many seconds in all.
MOST_SEARCHED = 100_000
NAMED = 10
CHUNK = 500
SECONDS = 4.0


class WordRefused(DeskError):
    """A word cannot be stored."""


@dataclass(frozen=True)
class WantedWord:
    """A word as an admin wants it: in one mailbox or, without one, in all of them."""

    phrase: Phrase
    mailbox: Mailbox | None
    looks_in: Collection[str]
    points: int

    def __str__(self) -> str:
        """Everything that a preview depends on, in one spelling."""
        scope = self.mailbox.pk if self.mailbox else "all"
        return f"{self.phrase.spelling} / {' '.join(sorted(self.looks_in))} / {self.points} / {scope}"

    @property
    def text(self) -> str:
        """How it is spelled in the list."""
        return self.phrase.text


def may_set_words(actor: Actor, mailbox: Mailbox | None) -> bool:
    """Whether the actor may set the words of a mailbox, or those that count in all of
    them.
    """
    if mailbox is None:
        return actor.is_admin_of_all
    return mailbox.is_administered_by(actor)


def loosens(before: OwnWord, wanted: WantedWord) -> bool:
    """Whether a change may let messages through with less than before: anything but
    more points or more places.
    """
    return (
        wanted.points < before.points
        or wanted.phrase.spelling != before.spelling
        or not set(before.looks_in) <= set(wanted.looks_in)
        or (wanted.mailbox is not None and wanted.mailbox.pk != before.mailbox_id)
    )


@transaction.atomic
@second_admin("Own word")
def save_word(
    *, wanted: WantedWord, actor: Actor, word: OwnWord | None = None
) -> CanWait[OwnWord]:
    """Add a word, or change one; held messages are judged again soon after.

    Raises ActNotAllowed, WordRefused.
    """
    _check(actor, wanted.mailbox)
    stored = _locked(word, actor) if word else OwnWord()
    before = _in_words(stored) if word else ""
    stays = stored.mailbox_id == (wanted.mailbox.pk if wanted.mailbox else None)
    yield lambda: replace(
        # One that moves to another mailbox is accepted by an admin of everything.
        _as_change(stored, before, stored.mailbox if stays else None),
        after=_in_words(wanted),
        # A new word only adds findings.
        tightens=word is None or not loosens(stored, wanted),
    )
    others = OwnWord.objects.filter(mailbox=wanted.mailbox).exclude(pk=stored.pk)
    if others.filter(spelling=wanted.phrase.spelling).exists():
        raise WordRefused("It is already in the list, in this or another spelling.")
    if others.count() >= MOST:
        raise WordRefused(f"There are {MOST} words already. Remove one first.")
    stored.text = wanted.phrase.text
    stored.spelling = wanted.phrase.spelling
    stored.mailbox = wanted.mailbox
    stored.points = wanted.points
    stored.looks_in = [place for place in PLACES if place in wanted.looks_in]
    after = _in_words(stored)
    if after == before:
        return stored
    stored.changed_by_id = int(actor.id)
    stored.changed_at = timezone.now()
    stored.save()
    _note(
        "own_word.changed" if word else "own_word.added", stored, before, after, actor
    )
    return stored


@transaction.atomic
@second_admin("Own word")
def remove_word(*, word: OwnWord, actor: Actor) -> CanWait[None]:
    """Remove a word; its findings go from held messages soon after. Raises
    ActNotAllowed, WordRefused.
    """
    stored = _locked(word, actor)
    before = _in_words(stored)
    yield lambda: _as_change(stored, before, stored.mailbox)
    _note("own_word.removed", stored, before, "", actor)
    stored.delete()


def _as_change(stored: OwnWord, before: str, place: Mailbox | None) -> ChangeInWords:
    """Return that a word is removed, as a change of this mailbox or of everything."""
    return ChangeInWords(
        title=f"Own word “{stored.text}”",
        before=before,
        after="removed",
        page=reverse("own-words"),
        connection=place.connection_id if place else None,
        mailbox=place.pk if place else None,
    )


def _locked(word: OwnWord, actor: Actor) -> OwnWord:
    take_lock("approvals.own_words")
    found = OwnWord.objects.select_related("mailbox").filter(pk=word.pk).first()
    if found is None:
        raise WordRefused("Somebody removed this word meanwhile.")
    _check(actor, found.mailbox)
    return found


def _check(actor: Actor, mailbox: Mailbox | None) -> None:
    if not may_set_words(actor, mailbox):
        sentence = "Only an admin of all mailboxes can set words for all of them."
        if mailbox:
            sentence = f"Only an admin of {mailbox} can set its words."
        raise ActNotAllowed(sentence)


def _in_words(word: OwnWord | WantedWord) -> str:
    where = str(word.mailbox) if word.mailbox else "all mailboxes"
    return f"“{word.text}” in {places_in_words(word.looks_in)}: {word.points} points, {where}"


def _note(action: str, word: OwnWord, before: str, after: str, actor: Actor) -> None:
    connection = word.mailbox.connection_id if word.mailbox else None
    details = {"word": word.text, **changed(before=before, after=after)}
    record(action, actor=actor, connection=connection, details=details)
    have_judged_again(actor)


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


def rehearse_word(*, wanted: WantedWord, actor: Actor) -> WordRehearsal:
    """Return what a word would have found in the mail of the last 30 days that the
    actor may see. Nothing is written.

    It takes SECONDS and the reading of one chunk at most.
    """
    until = time.monotonic() + SECONDS
    recent = queue_messages().visible_to(actor).filter(revision__isnull=False)
    recent = lately(recent)
    if wanted.mailbox is not None:
        recent = recent.filter(mailbox=wanted.mailbox)
    total = recent.order_by()[:MOST_SEARCHED].count()
    found: list[int] = []
    # Those that hold the phrase's words at all, newest first.
    holding = recent.holding(search_terms(wanted.phrase)).in_order("newest")
    keys = list(holding.values_list("pk", flat=True)[:MOST_SEARCHED])
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
            pieces: Iterable[str] = ()
            if message.revision:
                pieces = _pieces(message.revision, wanted.looks_in)
            if any(SearchedText(text).find(wanted.phrase) for text in pieces):
                found.append(message.pk)
        if time.monotonic() > until and len(chunk) == CHUNK:
            later = recent.filter(changed_at__gte=rows[-1].changed_at)
            looked_at = min(total, later.order_by()[:MOST_SEARCHED].count())
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
