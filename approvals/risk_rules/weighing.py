"""Commands that change the points of a published risk rule, and the organization's own
words; and the job that applies a change to held messages, in batches.

"Weighing again" computes a message's risk from its stored findings. "Judging again"
also searches its text for the own words. A rehearsal shows what a word would have found
in the last 30 days: PostgreSQL's full-text search picks the messages, and their texts
are then searched. It does not render messages, so it can miss a word that formatting
splits.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from approvals import tasks
from approvals.examination import (
    WEIGHTS_LOCK,
    own_phrases,
    text_of,
    wait_for_examinations,
)
from approvals.models import OwnWord, Review, RuleWeight
from approvals.queue.filters import Filters, Position, as_number
from approvals.queue.querysets import QueueQuerySet, queue_messages
from audit.recording import record
from common.actors import Actor
from common.postgres import take_lock
from mirror.errors import ActNotAllowed, DeskError
from mirror.models import Mailbox, Message, Revision, may_set
from mirror.states import MessageState
from mirror.store import rendered_content, stored_content
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from policy.rules.conditions import own_word_key
from policy.rules.facts import own_words_in
from risk.findings import Phrase, RiskContext, restored, score, score_of, worst_first
from risk.own_words import PLACES, SearchedText, own_word, places_in_words, search_terms
from risk.rules import RULES

# The name of the rule in findings of own words.
RULE = "own_word"
# Messages in a batch that is weighed again; and in one that is judged again, which is
# smaller because each message is rendered.
BATCH = 500
JUDGED = 50
LATELY = timedelta(days=30)
# `weighed_to` of a rule for which no held message was weighed again yet.
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def lately(messages: QueueQuerySet) -> QueueQuerySet:
    """Return the messages held in the last 30 days. The condition on `changed_at`,
    which all of them meet, is there for the index.
    """
    return messages.filter(held_at__gte=Now() - LATELY, changed_at__gte=Now() - LATELY)


@transaction.atomic
@second_admin("Points")
def weigh(*, rule: str, points: int | None, actor: Actor) -> CanWait[RuleWeight]:
    """Set a rule's points, or reset them to the published ones (None). Held messages
    are weighed again soon after. Raises ActNotAllowed.
    """
    if rule not in RULES:
        raise ActNotAllowed("This rule is not published any more.")
    if not actor.is_admin_of_all or RULES[rule].points_by_finding:
        raise ActNotAllowed(
            "Only an admin of all mailboxes can change the points: they apply to everybody."
        )
    # Nobody else can change points until the transaction ends.
    take_lock(WEIGHTS_LOCK)
    published = RULES[rule].points
    before = RuleWeight.objects.points_by_rule().get(rule, published)
    after = published if points is None else points
    # A change that has to wait for a second admin ends here, and the whole command is
    # called again once it is accepted.
    yield lambda: ChangeInWords(
        title=f"Points of “{RULES[rule].words}”",
        before=f"{before} of 100 points",
        after=f"{after} of 100 points",
        page=reverse("rule", args=[rule]),
        tightens=after >= before,
    )
    if before == after:
        return RuleWeight.objects.get_or_create(rule=rule)[0]
    details = {
        "rule": rule,
        "before": str(before),
        "after": str(after),
        "published": str(published),
    }
    record("rule.weighed", actor=actor, details=details)
    return _begin(rule, actor, points=None if after == published else after)


def _begin(rule: str, actor: Actor, *, points: int | None = None) -> RuleWeight:
    """Enqueue weighing all held messages again, or judging them again by the present
    own words.
    """
    values = {
        "points": points,
        "weighed_to": _BEGINNING,
        "weighed_to_key": 0,
        "changed_by_id": int(actor.id),
        "changed_at": timezone.now(),
    }
    weight, _ = RuleWeight.objects.update_or_create(rule=rule, defaults=values)
    tasks.reweigh.delay_on_commit(weight.pk)
    return weight


def reweigh(*, weight_id: int) -> bool:
    """Weigh the next batch of held messages with findings of a rule again, oldest
    first. Return whether there may be more.

    After a change of own words, a batch of all held messages is judged again. Waits for
    locked rows.
    """
    if RuleWeight.objects.filter(
        pk=weight_id, rule=RULE, weighed_to=_BEGINNING
    ).exists():
        wait_for_examinations()
    with transaction.atomic():
        rows = RuleWeight.objects.select_for_update(no_key=True).exclude(
            weighed_to=None
        )
        weight = rows.filter(pk=weight_id).first()
        if weight is None or weight.weighed_to is None:
            return False
        position = Position((as_number(weight.weighed_to),), weight.weighed_to_key)
        held = queue_messages().in_order("held").following("held", position)
        held = held.select_related("revision").filter(
            state=MessageState.HELD, revision__isnull=False
        )
        weights = RuleWeight.objects.points_by_rule()
        if weight.rule == RULE:
            batch = list(held[:JUDGED])
            may_be_more = len(batch) == JUDGED
            _judge_again(batch, weights)
        else:
            batch = list(held.matching(Filters(rule=weight.rule))[:BATCH])
            may_be_more = len(batch) == BATCH
            _weigh_again(batch, weights)
        weight.weighed_to = batch[-1].held_at if may_be_more else None
        weight.weighed_to_key = batch[-1].pk if may_be_more else 0
        weight.save(update_fields=["weighed_to", "weighed_to_key"])
    return may_be_more


def _weigh_again(batch: list[Message], weights: dict[str, int]) -> None:
    # The messages are locked, so that none gets another version in the meantime.
    current = dict(
        Message.objects.filter(pk__in=[one.pk for one in batch])
        .order_by("pk")
        .select_for_update(no_key=True)
        .values_list("pk", "revision_id")
    )
    reviews = Review.objects.in_bulk(current)
    # Read again, because a finding may have been added since the batch was read.
    revisions = Revision.objects.in_bulk(current.values())
    changed = []
    for message in batch:
        if message.revision_id not in revisions:
            continue
        total = score_of(revisions[message.revision_id].findings, weights)
        review = reviews[message.pk]
        if (review.risk, review.risk_level) == (total.points, total.level):
            continue
        if review.risk_level != total.level:
            # At another risk level, the review plan has other deadlines and other rules
            # of the policy apply, so both are evaluated again.
            review.watch_at = Now()
            review.policy_applied = 0
        review.risk = total.points
        review.risk_level = total.level
        changed.append(review)
    Review.objects.bulk_update(
        changed, ["risk", "risk_level", "watch_at", "policy_applied"]
    )


def _judge_again(batch: list[Message], weights: dict[str, int]) -> None:
    """Search held messages, which were read with their version, for the present own
    words and store the findings.
    """
    words = {
        connection: list(OwnWord.objects.of_connection(connection).heaviest_first())
        for connection in {message.connection_id for message in batch}
    }
    for message in batch:
        assert message.revision is not None, "only what was fetched can be judged"
        _judge(message, message.revision, words[message.connection_id], weights)


def _judge(
    message: Message, revision: Revision, words: list[OwnWord], weights: dict[str, int]
) -> None:
    # Replaces the findings of own words, and the risk that follows, if they changed.
    phrases = own_phrases(words, message.mailbox_id)
    others = [restored(one) for one in revision.findings if one.get("rule") != RULE]
    findings = []
    if phrases:
        content = stored_content(revision)
        rendered = rendered_content(revision, content)
        findings = list(own_word(content, rendered, RiskContext(own_phrases=phrases)))
    before = [restored(one) for one in revision.findings]
    after = worst_first((*others, *findings))
    if list(after) == before:
        return
    # Lock the message first. Whoever stores another version locks it too; after that,
    # this query finds nothing.
    current = Message.objects.filter(
        pk=message.pk, revision=revision, state=MessageState.HELD
    )
    if not current.select_for_update(no_key=True).values_list("pk"):
        return
    # A finding may have been added since the batch was read.
    revision.refresh_from_db(fields=["findings"])
    others = [restored(one) for one in revision.findings if one.get("rule") != RULE]
    after = worst_first((*others, *findings))
    total = score(after, weights)
    stored = [asdict(one) for one in after]
    review = Review.objects.get(pk=message.pk)
    review.risk = total.points
    review.risk_level = total.level
    review.rules = list(dict.fromkeys(one.rule for one in after))
    review.policy_applied = 0
    review.watch_at = Now()
    if review.policy_facts is not None:
        review.policy_facts["own_words"] = own_words_in(stored)
    review.save(
        update_fields=[
            "risk",
            "risk_level",
            "rules",
            "policy_applied",
            "watch_at",
            "policy_facts",
        ]
    )
    Revision.objects.filter(pk=revision.pk).update(findings=stored)


# How many words each mailbox may have; and how many there may be for all mailboxes.
MOST = 100
# How many messages a rehearsal searches, and how many with the word it lists.
READ = 500
NAMED = 10


class WordRefused(DeskError):
    """A word cannot be saved or removed; `sentence` says why."""


@dataclass(frozen=True)
class WantedWord:
    """A word as an admin wants it: for one mailbox or, if `mailbox` is None, for all."""

    phrase: Phrase
    mailbox: Mailbox | None
    looks_in: Collection[str]
    points: int

    def __str__(self) -> str:
        """Everything that a preview depends on, as text for comparison."""
        scope = self.mailbox.pk if self.mailbox else "all"
        return f"{self.phrase.spelling} / {' '.join(sorted(self.looks_in))} / {self.points} / {scope}"

    @property
    def text(self) -> str:
        """The word as the list shows it."""
        return self.phrase.text


def loosens(before: OwnWord, wanted: WantedWord) -> bool:
    """Whether a change of a word may give some messages fewer points than before, or
    take it from a rule: any change except more points, more places or more mailboxes.
    """
    return (
        wanted.points < before.points
        or wanted.phrase.spelling != before.spelling
        # Rules of the policy name a word by its text.
        or own_word_key(wanted.text) != own_word_key(before.text)
        or not set(before.looks_in) <= set(wanted.looks_in)
        or (wanted.mailbox is not None and wanted.mailbox.pk != before.mailbox_id)
    )


@transaction.atomic
@second_admin("Own word")
def save_word(
    *, wanted: WantedWord, actor: Actor, word: OwnWord | None
) -> CanWait[OwnWord]:
    """Add a word, or change an existing `word`. Held messages are judged again soon
    after. Raises ActNotAllowed, WordRefused.
    """
    _check(actor, wanted.mailbox)
    stored = _locked(word, actor) if word else OwnWord()
    before = _in_words(stored) if word else ""
    stays = stored.mailbox_id == (wanted.mailbox.pk if wanted.mailbox else None)
    # A change that has to wait for a second admin ends here (see `weigh`).
    yield lambda: replace(
        # If the word moves to another mailbox, an admin of everything has to accept it.
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
    """Remove a word. Its findings disappear from held messages soon after. Raises
    ActNotAllowed, WordRefused.
    """
    stored = _locked(word, actor)
    before = _in_words(stored)
    # A change that has to wait for a second admin ends here (see `weigh`).
    yield lambda: _as_change(stored, before, stored.mailbox)
    _note("own_word.removed", stored, before, "", actor)
    stored.delete()


def _as_change(stored: OwnWord, before: str, place: Mailbox | None) -> ChangeInWords:
    """Return the removal of a word as a change for a second admin, of the mailbox
    `place` or, without one, of everything.
    """
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
    stored = OwnWord.objects.select_related("mailbox").filter(pk=word.pk).first()
    if stored is None:
        raise WordRefused("Somebody removed this word meanwhile.")
    _check(actor, stored.mailbox)
    return stored


def _check(actor: Actor, mailbox: Mailbox | None) -> None:
    if not may_set(actor, mailbox):
        sentence = "Only an admin of all mailboxes can set words for all of them."
        if mailbox:
            sentence = f"Only an admin of {mailbox} can set its words."
        raise ActNotAllowed(sentence)


def _in_words(word: OwnWord | WantedWord) -> str:
    where = str(word.mailbox) if word.mailbox else "all mailboxes"
    return f"“{word.text}” in {places_in_words(word.looks_in)}: {word.points} points, {where}"


def _note(action: str, word: OwnWord, before: str, after: str, actor: Actor) -> None:
    connection = word.mailbox.connection_id if word.mailbox else None
    details = {"word": word.text, "before": before, "after": after}
    record(action, actor=actor, connection=connection, details=details)
    take_lock(WEIGHTS_LOCK)
    _begin(RULE, actor)


@dataclass(frozen=True)
class WordRehearsal:
    """How many of `total` messages would have had the finding, and the newest of them.

    `is_partial` says that the full-text search found READ messages or more, and only
    the newest were searched.
    """

    total: int
    found: int
    newest: Sequence[Message]
    is_partial: bool

    @property
    def is_common(self) -> bool:
        """Whether so many messages would have had the finding that it says little."""
        return self.found >= 10 and self.found * 2 > self.total


def rehearse_word(*, wanted: WantedWord, actor: Actor) -> WordRehearsal:
    """Return which messages of the last 30 days that the actor may see would have had
    the finding. Nothing is written.
    """
    recent = queue_messages().visible_to(actor).filter(revision__isnull=False)
    recent = lately(recent)
    if wanted.mailbox is not None:
        recent = recent.filter(mailbox=wanted.mailbox)
    holding = recent.holding(search_terms(wanted.phrase)).in_order("newest")
    searched = holding.select_related("revision", "mailbox")[:READ]
    matches = [
        message
        for message in searched
        if message.revision
        and any(
            SearchedText(text).find(wanted.phrase)
            for text in _pieces(message.revision, wanted.looks_in)
        )
    ]
    return WordRehearsal(
        recent.count(), len(matches), matches[:NAMED], is_partial=len(searched) == READ
    )


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
