"""Changes the points of a published rule, and weighs held messages again afterwards.

Changed own words go the same way: held messages are judged again, from where the last
batch ended.
"""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from approvals import tasks
from approvals.examination import WEIGHTS_LOCK, flush_examinations, own_phrases
from approvals.models import OwnWord, Review, RuleWeight
from approvals.queue.filters import Filters, Position, as_number
from approvals.queue.querysets import QueueQuerySet, queue_messages
from audit.recording import record
from common.actors import Actor
from common.postgres import take_lock
from mirror.errors import ActNotAllowed
from mirror.models import Message, Revision
from mirror.states import MessageState
from mirror.store import rendered_content, stored_content
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from policy.rules.facts import own_words_in
from risk import RULES, RiskContext, restored, score, score_of
from risk.check_words import own_word
from risk.findings import worst_first

# The rule with which findings of own words are stored.
RULE = "own_word"
BATCH = 500
# Of those that are judged again, because each is laid out for it.
JUDGED = 50
LATELY = timedelta(days=30)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def lately(messages: QueueQuerySet) -> QueueQuerySet:
    """Return those held first in the last 30 days; what happened to none of them lately
    bounds how far is looked.
    """
    return messages.filter(held_at__gte=Now() - LATELY, changed_at__gte=Now() - LATELY)


@transaction.atomic
@second_admin("Points")
def weigh(*, rule: str, points: int | None, actor: Actor) -> CanWait[RuleWeight]:
    """Set a rule's points, or reset them to the published ones; held messages are
    weighed again soon after.

    Raises ActNotAllowed.
    """
    if rule not in RULES:
        raise ActNotAllowed("This rule is not published any more.")
    if not actor.is_admin_of_all or RULES[rule].points_by_finding:
        raise ActNotAllowed(
            "Only an admin of all mailboxes can change the points: they apply to everybody."
        )
    # Nobody else can weigh one until the transaction ends.
    take_lock(WEIGHTS_LOCK)
    published = RULES[rule].points
    before = RuleWeight.objects.points_by_rule().get(rule, published)
    after = published if points is None else points
    yield lambda: ChangeInWords(
        title=f"Points of “{RULES[rule].words}”",
        before=f"{before} of 100 points",
        after=f"{after} of 100 points",
        page=reverse("rule", args=[rule]),
        tightens=after >= before,
    )
    weight, _ = RuleWeight.objects.get_or_create(rule=rule)
    if before == after:
        return weight
    weight.points = None if after == published else after
    weight.changed_by_id = int(actor.id)
    weight.changed_at = timezone.now()
    weight.weighed_to = _BEGINNING
    weight.weighed_to_key = 0
    weight.save()
    details = {
        "rule": rule,
        "before": str(before),
        "after": str(after),
        "published": str(published),
    }
    record("rule.weighed", actor=actor, details=details)
    tasks.reweigh.delay_on_commit(weight.pk)
    return weight


def have_judged_again(actor: Actor) -> None:
    """Have held messages judged again by the own words of now; in the transaction that
    changes those.
    """
    take_lock(WEIGHTS_LOCK)
    begun = {
        "weighed_to": _BEGINNING,
        "weighed_to_key": 0,
        "changed_by_id": int(actor.id),
        "changed_at": timezone.now(),
    }
    weight, _ = RuleWeight.objects.update_or_create(rule=RULE, defaults=begun)
    tasks.reweigh.delay_on_commit(weight.pk)


def reweigh(*, weight_id: int) -> bool:
    """Weigh a batch of held messages with findings of a rule, oldest first; return
    whether there may be more.

    It waits for locked rows, and continues from where the last batch ended. After a
    change of own words each held message is judged again.
    """
    if RuleWeight.objects.filter(
        pk=weight_id, rule=RULE, weighed_to=_BEGINNING
    ).exists():
        flush_examinations()
    with transaction.atomic():
        rows = RuleWeight.objects.select_for_update(no_key=True).exclude(
            weighed_to=None
        )
        weight = rows.filter(pk=weight_id).first()
        if weight is None or weight.weighed_to is None:
            return False
        position = Position((as_number(weight.weighed_to),), weight.weighed_to_key)
        held = queue_messages().in_order("held").following("held", position)
        held = held.filter(state=MessageState.HELD, revision__isnull=False)
        held = held.select_related("revision")
        weights = RuleWeight.objects.points_by_rule()
        if weight.rule == RULE:
            batch = list(held[:JUDGED])
            may_be_more = len(batch) == JUDGED
            judge_again(batch, weights)
        else:
            batch = list(held.matching(Filters(rule=weight.rule))[:BATCH])
            may_be_more = len(batch) == BATCH
            _weigh_again(batch, weights)
        weight.weighed_to = batch[-1].held_at if may_be_more else None
        weight.weighed_to_key = batch[-1].pk if may_be_more else 0
        weight.save(update_fields=["weighed_to", "weighed_to_key"])
    return may_be_more


def _weigh_again(batch: list[Message], weights: dict[str, int]) -> None:
    # Locked, so that none gets another version meanwhile.
    current = dict(
        Message.objects.filter(pk__in=[one.pk for one in batch])
        .order_by("pk")
        .select_for_update(no_key=True)
        .values_list("pk", "revision_id")
    )
    reviews = Review.objects.in_bulk(current)
    changed = []
    for message in batch:
        assert message.revision is not None, "only what was fetched can be weighed"
        total = score_of(message.revision.findings, weights)
        review = reviews[message.pk]
        is_same = (review.risk, review.risk_level) == (total.points, total.level)
        if is_same or current[message.pk] != message.revision_id:
            continue
        if review.risk_level != total.level:
            # It has other deadlines by its review plan, which is followed anew, and
            # other rules apply.
            review.watch_at = Now()
            review.policy_applied = 0
        review.risk = total.points
        review.risk_level = total.level
        changed.append(review)
    Review.objects.bulk_update(
        changed, ["risk", "risk_level", "watch_at", "policy_applied"]
    )


def judge_again(messages: Iterable[Message], weights: dict[str, int]) -> int:
    """Give held messages, which come with their version, the findings of the words of
    now; return how many changed.
    """
    by_connection: dict[int, list[OwnWord]] = {}
    changed = 0
    for message in messages:
        assert message.revision is not None, "only what was fetched can be judged"
        connection = message.connection_id
        if connection not in by_connection:
            by_connection[connection] = list(
                OwnWord.objects.of_connection(connection).heaviest_first()
            )
        changed += _judge(message, message.revision, by_connection[connection], weights)
    return changed


def _judge(
    message: Message, revision: Revision, words: list[OwnWord], weights: dict[str, int]
) -> bool:
    phrases = own_phrases(words, message.mailbox_id)
    others = [restored(one) for one in revision.findings if one.get("rule") != RULE]
    found = []
    if phrases:
        content = stored_content(revision)
        rendered = rendered_content(revision, content)
        found = list(own_word(content, rendered, RiskContext(own_phrases=phrases)))
    before = [restored(one) for one in revision.findings]
    after = worst_first((*others, *found))
    if list(after) == before:
        return False
    # The message first: who stores another version holds its row, and then this finds
    # the version no more.
    current = Message.objects.filter(
        pk=message.pk, revision=revision, state=MessageState.HELD
    )
    if not current.select_for_update(no_key=True).values_list("pk"):
        return False
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
    return True
