"""Reads of messages by their decisions, claims, snoozes and questions."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import (
    BooleanField,
    Count,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    Func,
    Min,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Least, Now

from approvals.models import (
    Claim,
    Decision,
    Question,
    Reminder,
    Review,
    Snooze,
    Verdict,
)
from common.actors import Actor
from common.counts import COUNTED, count_of
from common.postgres import clock
from mirror.models import Message
from mirror.models.messages import MessageQuerySet
from mirror.states import LIVE_DECISIONS, DecisionState, MessageState, Outcome
from mirror.terms import BACK_BEFORE, CAN_EXPIRE, EXPIRY_REST, TOLD_BEFORE, VOID
from policy.rules.facts import COLUMNS

# If MultiMail's clock runs ahead, `held_at` is in the future: that counts as no wait.
_AGES: Mapping[str, tuple[timedelta, timedelta]] = {
    "minutes": (-timedelta(days=36_500), timedelta(minutes=5)),
    "hour": (timedelta(minutes=5), timedelta(hours=1)),
    "hours": (timedelta(hours=1), timedelta(hours=4)),
    "day": (timedelta(hours=4), timedelta(days=1)),
    "longer": (timedelta(days=1), timedelta(days=36_500)),
}


class DeskMessageQuerySet(MessageQuerySet):
    """Reads of what is waiting, for whom, and what is being sent."""

    def awaiting_review(self) -> Self:
        """Held and not decided, or held again since (relies on the partial index
        message_held).
        """
        # What took effect before the message last changed no longer counts.
        decided = Q(state__in=LIVE_DECISIONS) | Q(
            state=DecisionState.APPLIED, changed_at__gte=OuterRef("changed_at")
        )
        decisions = Decision.objects.filter(decided, message=OuterRef("pk"))
        return self.filter(~Exists(decisions), state=MessageState.HELD)

    def in_queue(self) -> Self:
        """What awaits review and is not set apart (relies on message_held and
        review_apart).

        Hardly anything is set apart. Joined to the reviews, PostgreSQL would read those
        of all that waits.
        """
        apart = Review.objects.filter(
            message=OuterRef("pk"), is_held=True, is_apart=True
        )
        return self.awaiting_review().filter(~Exists(apart))

    def waiting_for(self, actor: Actor) -> Self:
        """What awaits this person's review in the queue: not what they snoozed or
        approved, nor what was set apart.
        """
        waiting = self.visible_to(actor).in_queue()
        if actor.kind != "person":
            return waiting
        # Both are read first: mostly there are none, and a subquery in each query of a
        # page takes longer.
        snoozed = _snoozed_by(actor)
        approved = _approved_by(actor)
        if snoozed:
            waiting = waiting.exclude(_can_be_snoozed(), pk__in=snoozed)
        return waiting.exclude(revision__in=approved) if approved else waiting

    def snoozed_by(self, actor: Actor) -> Self:
        """What awaits review and this person has snoozed."""
        return (
            self.visible_to(actor)
            .in_queue()
            .filter(_can_be_snoozed(), pk__in=_snoozed_by(actor))
        )

    def set_apart(self) -> Self:
        """What awaits review apart from the queue, because a cap was passed
        (review_apart).
        """
        return self.ever_apart().awaiting_review()

    def ever_apart(self) -> Self:
        """What was set apart, decided or not: mostly nothing is, which costs little to ask
        (review_apart).
        """
        return self.filter(review__is_held=True, review__is_apart=True)

    def of(self, actor: Actor) -> Self:
        """Held messages of this person: claimed, snoozed or approved by them, or with a
        question or reminder to them.

        Approved: as one of several who have to.
        """
        if actor.kind != "person":
            return self.none()
        # By keys, which are read first: these lists are short and mostly empty, the
        # queue is not.
        keys = {message for message, _ in _left_by(actor)}
        if not keys:
            return self.none()
        return self.visible_to(actor).awaiting_review().filter(pk__in=keys)

    def mine_stamp(self, actor: Actor) -> str:
        """Return a value that changes whenever one of this person's own lists does."""
        return str(sorted(_left_by(actor)[:1001]))

    def leaving(self) -> Self:
        """Decided here and not yet carried out, or carried out but not yet reported to
        the mirror.

        Relies on decision_to_do and decision_applied.
        """
        return self.filter(_of(Decision.objects.going()))

    def leaving_by_standing(self) -> Self:
        """Approved by a standing approval, and not yet carried out (decision_to_do)."""
        waits = Decision.objects.order_by().filter(
            state=DecisionState.RECORDED, standing__isnull=False
        )
        return self.filter(pk__in=waits.values("message"))

    def numbers_by_brake(self) -> dict[int, int]:
        """Return how many of these there are of each flood."""
        counted = self.order_by().values("review__brake").annotate(number=Count("pk"))
        return dict(counted.values_list("review__brake", "number"))

    def numbers_by_age(self) -> dict[str, int]:
        """Return how many of these wait for how long, each up to a thousand and one
        (relies on message_held).
        """
        now = clock()
        held = self.order_by("held_at").values_list("held_at", flat=True)
        since = list(held[: COUNTED + 1])
        counts = {}
        for name, (least, most) in _AGES.items():
            if len(since) > COUNTED:
                counts[name] = count_of(
                    self.filter(held_at__lte=now - least, held_at__gt=now - most)
                )
            else:
                counts[name] = sum(now - most < at <= now - least for at in since)
        return counts

    def count_waiting_for(self, actor: Actor) -> int:
        """Return exactly how many wait for this person: the held ones except those
        being sent, apart or snoozed.

        This reads only an index (message_held), so a hundred thousand are affordable.
        """
        held = self.visible_to(actor).filter(state=MessageState.HELD)
        going = _of(Decision.objects.going(LIVE_DECISIONS))
        counts = {"held": held, "going": held.filter(going, review__is_apart=False)}
        counts["apart"] = held.ever_apart()
        if actor.kind == "person":
            counts["snoozed"] = self.snoozed_by(actor)
            approved = held.filter(revision__in=_approved_by(actor))
            counts["approved"] = approved.exclude(
                _can_be_snoozed(), pk__in=_snoozed_by(actor)
            )
        sizes = {name: rows.order_by().count() for name, rows in counts.items()}
        return max(0, sizes.pop("held") - sum(sizes.values()))

    def in_doubt(self) -> Self:
        """Decided here, with an unknown outcome (relies on decision_to_look_at)."""
        return self.filter(pk__in=Decision.objects.in_doubt().values("message"))

    def for_list(self) -> Self:
        """With everything that a message's page and a row of the queue show."""
        shown = self.with_connection().select_related(
            "mailbox", "revision", "review", "claim__person"
        )
        return shown.prefetch_related(_newest_decisions())

    def for_rows(self) -> Self:
        """With only what one line of a list shows: no content, and no connection secret
        to decrypt.
        """
        claims = Prefetch("claim", Claim.objects.select_related("person"))
        shown = self.select_related("mailbox", "revision", "review").only(*_SHOWN)
        return shown.prefetch_related(claims, _newest_decisions())

    def rejected_lately(self, message: Message) -> Self:
        """What was rejected in 90 days, of the message's connection and kind, with what
        took effect of each.

        Relies on message_rejected.
        """
        since = Now() - timedelta(days=90)
        found = self.filter(
            state=MessageState.REJECTED,
            changed_at__gt=since,
            connection=message.connection_id,
        )
        found = found.filter(
            sandbox=message.sandbox, direction=message.direction
        ).exclude(pk=message.pk)
        applied = (
            Decision.objects.filter(state=DecisionState.APPLIED)
            .select_related("given_by")
            .order_by("-pk")
        )
        columns = (
            "public_id",
            "mailbox",
            "changed_at",
            "upstream_decided_by",
            "upstream_reason",
        )
        return found.only(*columns).prefetch_related(
            Prefetch("decisions", applied, to_attr="newest_decisions")
        )

    def for_name(self) -> Self:
        """With only what names them, and since when they are held."""
        return self.only("public_id", "subject", "hydrated_at", "held_at")

    def for_policy(self) -> Self:
        """With only what the rules of the policy ask of each."""
        related = ("connection__is_our_gateway", "mailbox__editor_may_approve")
        examined = ("review__risk_level", "review__rules", "review__policy_facts")
        known = self.select_related("connection", "mailbox", "review")
        return known.only(
            "state", "upstream_id", "revision", *related, *COLUMNS, *examined
        )

    def late(self) -> Self:
        """Held, and past a target of its review plan as of the last sweep
        (review_late).
        """
        return self.filter(
            state=MessageState.HELD,
            review__is_held=True,
            review__late_since__isnull=False,
        )

    def to_watch(self) -> Self:
        """Held and read, with something due by their review plan (review_watch)."""
        due = self.filter(
            state=MessageState.HELD, review__is_held=True, review__watch_at__lte=Now()
        )
        return due.exclude(hydrated_at=None)

    def late_by_mailbox(self) -> QuerySet[Any, Any]:
        """Return how many are late in each mailbox, the one with the longest late first
        (review_late).
        """
        counted = self.late().order_by().values("mailbox__address")
        return counted.annotate(
            number=Count("pk"), first=Min("review__late_since")
        ).order_by("first")[:20]

    def nearly_over(self) -> Self:
        """Undecided, not announced yet, and expiring within an hour, or a tenth of
        their time where that is shorter.

        Relies on message_expiry.
        """
        decisions = Decision.objects.filter(message=OuterRef("pk"))
        ahead = Least(
            Value(TOLD_BEFORE),
            ExpressionWrapper((F("expires_at") - F("held_at")) / 10, DurationField()),
            output_field=DurationField(),
        )
        soon = self.real().filter(
            state=MessageState.HELD,
            expires_at__gt=Now(),
            expires_at__lte=Now() + TOLD_BEFORE,
        )
        near = soon.filter(review__expiry_told_at=None, expires_at__lte=Now() + ahead)
        return near.exclude(Exists(decisions.filter(state__in=LIVE_DECISIONS)))

    def not_asked_by(self, version: QuerySet[Any, Any]) -> Self:
        """Held, fetched and undecided, and not asked about by this version of the
        policy yet (review_policy).
        """
        asked_before = self.real().filter(
            review__is_held=True,
            review__policy_applied__lt=Subquery(version),
            hydrated_at__isnull=False,
        )
        return asked_before.awaiting_review()

    def past_expiry(self) -> Self:
        """Held although expired by the database's clock, with no decision under way
        that ends them.

        After a refused reject of the expiry rule there is a pause before the next (relies on
        message_expiry).
        """
        decisions = Decision.objects.filter(message=OuterRef("pk"))
        # A message that was listed again expires like any other.
        since = Q(changed_at__gte=OuterRef("changed_at"))
        ended = Q(state__in=(DecisionState.APPLIED, DecisionState.SUPERSEDED)) & since
        on_its_way = Q(state__in=LIVE_DECISIONS) & ~Q(
            state__in=CAN_EXPIRE, outcome=Outcome.APPROVE
        )
        resting = Q(
            rule="expiry",
            state=DecisionState.REFUSED,
            changed_at__gt=Now() - EXPIRY_REST,
        )
        over = (
            self.real()
            .filter(state=MessageState.HELD, expires_at__lte=Now())
            .exclude(hydrated_at=None)
        )
        return over.exclude(Exists(decisions.filter(ended | on_its_way | resting)))


def desk_messages() -> DeskMessageQuerySet:
    """Return all messages for the reads above, without the columns that
    `MessageManager` leaves out.
    """
    return DeskMessageQuerySet(Message).defer("search")


def shown_message(actor: Actor, public_id: UUID) -> Message | None:
    """Return a message with everything that its page and a row show, or None where this
    person may not see it.
    """
    # By no order: one at most has this id.
    found = desk_messages().visible_to(actor).for_list().filter(public_id=public_id)
    return next(iter(found), None)


def _newest_decisions() -> "Prefetch[Any]":
    # As lists: a queryset for each message of a page takes as long as reading it.
    newest_first = Decision.objects.select_related("given_by").order_by("-pk")
    return Prefetch("decisions", newest_first, to_attr="newest_decisions")


def our_decisions(message: Message) -> list[Decision]:
    """Return our decisions about a message, the newest first: those that were read with
    it, or read now.
    """
    known: list[Decision] | None = message.__dict__.get("newest_decisions")
    if known is not None:
        return known
    return sorted(message.decisions.all(), key=lambda one: -one.pk)


def latest_decision(message: Message) -> Decision | None:
    """Return our newest decision about a message that may have an effect.

    One without effect must not hide an older one that was withdrawn and may still take
    effect.
    """
    decisions = our_decisions(message)
    newest = next(iter(decisions), None)
    if newest is None or newest.state not in VOID:
        return newest
    return next(
        (one for one in decisions if one.state == DecisionState.WITHDRAWN), newest
    )


def awaits_review(message: int) -> bool:
    """Whether the message of this key awaits review."""
    return desk_messages().filter(pk=message).awaiting_review().exists()


class Among(Func):
    """Whether a key is in a list of keys, computed once; PostgreSQL plans for such a
    list being short.
    """

    template = "(%(expressions)s))"
    arg_joiner = " = ANY ("
    output_field = BooleanField()


def _of(decisions: QuerySet[Decision]) -> Among:
    """The condition that a message has one of these decisions.

    Their keys are read first: PostgreSQL overestimates them, and would read all held
    messages for a join.
    """
    return Among(F("pk"), ArraySubquery(decisions.order_by().values("message")))


def _snoozed_by(actor: Actor) -> list[int]:
    """Return the keys of the messages that this person has snoozed."""
    return list(
        Snooze.objects.of_person(int(actor.id))
        .running()
        .values_list("message", flat=True)
    )


def _can_be_snoozed() -> Q:
    """The condition that a message is not so close to its expiry that no snooze hides
    it.
    """
    return Q(expires_at=None) | Q(expires_at__gt=Now() + BACK_BEFORE)


def _approved_by(actor: Actor) -> list[int]:
    """Return the keys of the versions that this person approved and others still have
    to.
    """
    return list(
        Verdict.objects.awaiting_others(int(actor.id)).values_list(
            "revision", flat=True
        )
    )


_SHOWN = (
    "public_id",
    "upstream_id",
    "direction",
    "state",
    "sandbox",
    "is_local",
    "sender",
    "recipients",
    "subject",
    "trigger",
    "reported",
    "held_at",
    "hydrated_at",
    "expires_at",
    "changed_at",
    "fetch_tries",
    "try_number",
    "upstream_decided_by",
    "review__risk",
    "review__risk_level",
    "review__rules",
    "review__late_since",
    "review__is_apart",
    "review__held_at",
    "addresses",
    "outside",
    "has_attachments",
    "started_by",
    "run_id",
    "thread_id",
    "shape",
    "connection",
    "mailbox",
    "revision",
    "mailbox__address",
    "mailbox__upstream_id",
    "revision__findings",
    "revision__fingerprint",
)


def _left_by(actor: Actor) -> QuerySet[Any, Any]:
    """Return message and key of this person's claims, snoozes and approvals, and of
    what others ask of them.
    """
    person = int(actor.id)
    kinds: list[QuerySet[Any]] = [
        Claim.objects.of_person(person).lasting(),
        Snooze.objects.of_person(person).running(),
        Question.objects.of_person(person),
        # Of an earlier version, an approval counts no more: that message waits for this
        # person again.
        Verdict.objects.awaiting_others(person).filter(revision=F("message__revision")),
        Reminder.objects.filter(person=person),
    ]
    first, *others = (rows.order_by().values_list("message", "pk") for rows in kinds)
    return first.union(*others, all=True)
