"""Queries for messages as the desk sees them: which wait for review, and for whom, and
which are being sent, late, snoozed or expired. They combine a message with its
decisions, review, claim, snoozes and questions, and write nothing.

Names in brackets in docstrings, as `message_held`, are the database indexes that keep a
query fast.
"""

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
from mirror.states import (
    BACK_BEFORE,
    CAN_EXPIRE,
    EXPIRY_REST,
    LIVE_DECISIONS,
    TOLD_BEFORE,
    VOID,
    DecisionState,
    MessageState,
    Outcome,
)
from policy.rules.facts import COLUMNS

# How long a message has waited, from the first time to the second. If MultiMail's clock
# runs ahead, `held_at` is in the future: that counts as no wait.
_AGES = {
    "minutes": (-timedelta(days=36_500), timedelta(minutes=5)),
    "hour": (timedelta(minutes=5), timedelta(hours=1)),
    "hours": (timedelta(hours=1), timedelta(hours=4)),
    "day": (timedelta(hours=4), timedelta(days=1)),
    "longer": (timedelta(days=1), timedelta(days=36_500)),
}


class DeskMessageQuerySet(MessageQuerySet):
    """Messages with filters by what the desk and its people did about them."""

    def awaiting_review(self) -> Self:
        """Held and not decided, or held again since the decision (relies on the partial
        index message_held).
        """
        # A decision that took effect before the message last changed counts no more.
        decided = Q(state__in=LIVE_DECISIONS) | Q(
            state=DecisionState.APPLIED, changed_at__gte=OuterRef("changed_at")
        )
        decisions = Decision.objects.filter(decided, message=OuterRef("pk"))
        return self.held().filter(~Exists(decisions))

    def in_queue(self) -> Self:
        """Messages that await review and are not set apart (relies on message_held and
        review_apart).
        """
        # A subquery, because few messages are set apart: for a join PostgreSQL would
        # read the reviews of all messages that wait.
        apart = Review.objects.filter(
            message=OuterRef("pk"), is_held=True, is_apart=True
        )
        return self.awaiting_review().filter(~Exists(apart))

    def waiting_for(self, actor: Actor) -> Self:
        """Messages in the queue that this person may see and has neither snoozed nor
        approved.
        """
        waiting = self.visible_to(actor).in_queue()
        if actor.kind != "person":
            return waiting
        # Both lists are read first: they are mostly empty, and a subquery in each query
        # of a page takes longer.
        snoozed = _snoozed_by(actor)
        approved = _approved_by(actor)
        if snoozed:
            waiting = waiting.exclude(_can_be_snoozed(), pk__in=snoozed)
        return waiting.exclude(revision__in=approved) if approved else waiting

    def snoozed_by(self, actor: Actor) -> Self:
        """Messages in the queue that this person has snoozed."""
        return (
            self.visible_to(actor)
            .in_queue()
            .filter(_can_be_snoozed(), pk__in=_snoozed_by(actor))
        )

    def set_apart(self) -> Self:
        """Messages that await review in the list of those set apart, because a cap was
        passed (relies on review_apart).
        """
        return self.held_and_apart().awaiting_review()

    def held_and_apart(self) -> Self:
        """Held messages that were set apart, decided or not. Mostly there are none,
        which is quick to find out (relies on review_apart).
        """
        return self.filter(review__is_held=True, review__is_apart=True)

    def of(self, actor: Actor) -> Self:
        """The person's own list: undecided messages that they have claimed or snoozed,
        have approved while others still must, or are asked or reminded about.
        """
        if actor.kind != "person":
            return self.none()
        # The keys are read first: this list is short and mostly empty, while the queue
        # may be long.
        keys = {message for message, _ in _rows_of(actor)}
        if not keys:
            return self.none()
        return self.visible_to(actor).awaiting_review().filter(pk__in=keys)

    def mine_stamp(self, actor: Actor) -> str:
        """Return a text that changes when what `of` returns for this person does."""
        return str(sorted(_rows_of(actor)[:1001]))

    def leaving(self) -> Self:
        """Decided at this desk, and not yet carried out or not yet shown as carried out
        by the mirror (relies on decision_to_do and decision_applied).
        """
        return self.filter(_has_decision_among(Decision.objects.going()))

    def leaving_by_pass(self) -> Self:
        """Approved by a pass, and not yet carried out (relies on decision_to_do)."""
        by_pass = Decision.objects.by_pass().order_by()
        waits = by_pass.filter(state=DecisionState.RECORDED)
        return self.filter(pk__in=waits.values("message"))

    def numbers_by_age(self) -> dict[str, int]:
        """Return, by the names in _AGES, how many of these messages have waited so
        long. Counting stops above a thousand (relies on message_held).
        """
        now = clock()
        held = self.order_by("held_at").values_list("held_at", flat=True)
        held_times = list(held[: COUNTED + 1])
        counts = {}
        for name, (least, most) in _AGES.items():
            if len(held_times) > COUNTED:
                counts[name] = count_of(
                    self.filter(held_at__lte=now - least, held_at__gt=now - most)
                )
            else:
                counts[name] = sum(now - most < at <= now - least for at in held_times)
        return counts

    def count_waiting_for(self, actor: Actor) -> int:
        """Return the exact number of messages that wait for this person: all held ones,
        less those that are being sent, set apart, snoozed or approved by them.

        Only an index is read (message_held), which is fast even for 100,000 messages.
        """
        held = self.visible_to(actor).held()
        going = _has_decision_among(Decision.objects.going(LIVE_DECISIONS))
        others = [held.filter(going, review__is_apart=False), held.held_and_apart()]
        if actor.kind == "person":
            approved = held.in_queue().filter(revision__in=_approved_by(actor))
            others += [
                self.snoozed_by(actor),
                approved.exclude(_can_be_snoozed(), pk__in=_snoozed_by(actor)),
            ]
        number = held.order_by().count()
        return max(0, number - sum(rows.order_by().count() for rows in others))

    def in_doubt(self) -> Self:
        """Decided at this desk, with an outcome that is not known (relies on
        decision_to_look_at).
        """
        return self.filter(pk__in=Decision.objects.in_doubt().values("message"))

    def for_page(self) -> Self:
        """With all that the page of a message shows, and a row of the queue."""
        with_related = self.with_connection().select_related(
            "mailbox", "revision", "review", "claim__person"
        )
        return with_related.prefetch_related(_newest_decisions())

    def for_rows(self) -> Self:
        """With only the columns that a row of a list shows (_SHOWN): no content, and no
        keys of the connection, which would have to be decrypted.
        """
        claims = Prefetch("claim", Claim.objects.select_related("person"))
        with_related = self.select_related("mailbox", "revision", "review").only(
            *_SHOWN
        )
        return with_related.prefetch_related(claims, _newest_decisions())

    def rejected_lately(self, message: Message) -> Self:
        """Other messages of the same connection and kind as this one that were rejected
        in the last 90 days, with the decisions that took effect on each (relies on
        message_rejected). Of the same kind are messages that are sandbox or real, and
        inbound or outbound, like it.
        """
        rejected = self.filter(
            state=MessageState.REJECTED,
            changed_at__gt=Now() - timedelta(days=90),
            connection=message.connection_id,
            sandbox=message.sandbox,
            direction=message.direction,
        ).exclude(pk=message.pk)
        applied = (
            Decision.objects.filter(state=DecisionState.APPLIED)
            .select_related("given_by")
            .order_by("-pk")
        )
        return rejected.only(
            "public_id",
            "mailbox",
            "changed_at",
            "upstream_decided_by",
            "upstream_ended_by",
            "upstream_reason",
        ).prefetch_related(Prefetch("decisions", applied, to_attr="newest_decisions"))

    def for_name(self) -> Self:
        """With only their subjects, and the times since which they are held."""
        return self.only("public_id", "subject", "hydrated_at", "held_at")

    def for_policy(self) -> Self:
        """With only the columns that the rules and passes of the policy look at."""
        examined = "risk_level rules policy_facts written_by is_apart".split()
        return self.select_related("connection", "mailbox", "review").only(
            "state",
            "upstream_id",
            "revision",
            "held_at",
            "sandbox",
            "connection__is_our_gateway",
            *COLUMNS,
            *(f"review__{name}" for name in examined),
        )

    def late(self) -> Self:
        """Held, and later than a target of their review plan, as of the last sweep
        (relies on review_late).
        """
        return self.filter(
            state=MessageState.HELD,
            review__is_held=True,
            review__late_since__isnull=False,
        )

    def to_watch(self) -> Self:
        """Held and fetched, with something due by their review plan (relies on
        review_watch).
        """
        due = self.filter(
            state=MessageState.HELD, review__is_held=True, review__watch_at__lte=Now()
        )
        return due.exclude(hydrated_at=None)

    def late_by_mailbox(self) -> QuerySet[Any, Any]:
        """Return for up to 20 mailboxes their addresses, the number of late messages,
        and since when the first is late; the longest late first (relies on
        review_late).
        """
        return (
            self.late()
            .order_by()
            .values("mailbox__address")
            .annotate(number=Count("pk"), first=Min("review__late_since"))
            .order_by("first")[:20]
        )

    def nearly_over(self) -> Self:
        """Held and undecided messages whose expiry is near and was not announced yet.

        Near means within an hour, or within a tenth of the time from held to expiry if
        that is shorter (relies on message_expiry).
        """
        decisions = Decision.objects.filter(message=OuterRef("pk"))
        ahead = Least(
            Value(TOLD_BEFORE),
            ExpressionWrapper((F("expires_at") - F("held_at")) / 10, DurationField()),
            output_field=DurationField(),
        )
        soon = self.filter(
            state=MessageState.HELD,
            expires_at__gt=Now(),
            expires_at__lte=Now() + TOLD_BEFORE,
        )
        near = soon.filter(review__expiry_told_at=None, expires_at__lte=Now() + ahead)
        return near.exclude(Exists(decisions.filter(state__in=LIVE_DECISIONS)))

    def not_yet_under(self, version: QuerySet[Any, Any]) -> Self:
        """Held, fetched and undecided messages to which this version of the policy was
        not applied yet (relies on review_policy).
        """
        not_applied = self.filter(
            review__is_held=True,
            review__policy_applied__lt=Subquery(version),
            hydrated_at__isnull=False,
        )
        return not_applied.awaiting_review()

    def past_expiry(self) -> Self:
        """Held although they have expired by the database's clock, with no decision
        under way that ends them (relies on message_expiry).

        If the expiry rule's reject was refused, they are left out for EXPIRY_REST.
        """
        decisions = Decision.objects.filter(message=OuterRef("pk"))
        # Only decisions since the message last changed count: one that is held again
        # expires like any other.
        has_ended = Q(
            state__in=(DecisionState.APPLIED, DecisionState.SUPERSEDED),
            changed_at__gte=OuterRef("changed_at"),
        )
        on_its_way = Q(state__in=LIVE_DECISIONS) & ~Q(
            state__in=CAN_EXPIRE, outcome=Outcome.APPROVE
        )
        resting = Q(
            rule="expiry",
            state=DecisionState.REFUSED,
            changed_at__gt=Now() - EXPIRY_REST,
        )
        expired = self.held().filter(expires_at__lte=Now()).exclude(hydrated_at=None)
        return expired.exclude(
            Exists(decisions.filter(has_ended | on_its_way | resting))
        )


def desk_messages() -> DeskMessageQuerySet:
    """Return all messages, with the filters above. Their column `search` is not loaded,
    as with `MessageManager`.
    """
    return DeskMessageQuerySet(Message).defer("search")


def shown_message(actor: Actor, public_id: UUID) -> Message | None:
    """Return a message with everything that its page and a row show; None if there is
    none with this id that the person may see.
    """
    # Not `first()`, which would sort: at most one message has this id.
    messages = desk_messages().visible_to(actor).for_page().filter(public_id=public_id)
    return next(iter(messages), None)


def _newest_decisions() -> "Prefetch[Any]":
    # Stored as lists in `newest_decisions`: a queryset for each message of a page would
    # take as long as reading the page.
    newest_first = Decision.objects.select_related("given_by").order_by("-pk")
    return Prefetch("decisions", newest_first, to_attr="newest_decisions")


def our_decisions(message: Message) -> list[Decision]:
    """Return this desk's decisions about a message, the newest first. They are read
    now unless they were read together with the message.
    """
    prefetched: list[Decision] | None = message.__dict__.get("newest_decisions")
    if prefetched is not None:
        return prefetched
    return sorted(message.decisions.all(), key=lambda one: -one.pk)


def latest_decision(message: Message) -> Decision | None:
    """Return the decision that says where a message is: the newest one.

    But if the newest had no effect, and an older one was withdrawn, that one is
    returned, because it may still take effect.
    """
    decisions = our_decisions(message)
    newest = next(iter(decisions), None)
    if newest is None or newest.state not in VOID:
        return newest
    return next(
        (one for one in decisions if one.state == DecisionState.WITHDRAWN), newest
    )


def awaits_review(message: int) -> bool:
    """Whether the message with this key awaits review."""
    return desk_messages().filter(pk=message).awaiting_review().exists()


class Among(Func):
    """SQL `key = ANY (keys)`: whether a key is among keys that are computed once.
    PostgreSQL makes its plan for few keys.
    """

    template = "(%(expressions)s))"
    arg_joiner = " = ANY ("
    output_field = BooleanField()


def _has_decision_among(decisions: QuerySet[Decision]) -> Among:
    """Return the condition that a message has one of these decisions.

    The messages' keys are computed first: for a join PostgreSQL would overestimate
    their number, and read all held messages.
    """
    return Among(F("pk"), ArraySubquery(decisions.order_by().values("message")))


def _snoozed_by(actor: Actor) -> list[int]:
    """Return the keys of the messages that this person has snoozed."""
    return list(
        Snooze.objects.of_person(actor.person_id)
        .running()
        .values_list("message", flat=True)
    )


def _can_be_snoozed() -> Q:
    """Return the condition that a snooze hides a message: it does not expire soon."""
    return Q(expires_at=None) | Q(expires_at__gt=Now() + BACK_BEFORE)


def _approved_by(actor: Actor) -> list[int]:
    """Return the keys of the revisions that this person approved, and that need more
    approvals by others (relies on verdict_awaiting).
    """
    return list(
        Verdict.objects.filter(person=actor.person_id, awaits_others=True).values_list(
            "revision", flat=True
        )
    )


# The columns that `for_rows` loads.
_SHOWN = """
    public_id upstream_id direction state sandbox sender recipients subject
    trigger reported held_at hydrated_at expires_at changed_at fetch_tries
    try_number upstream_decided_by upstream_ended_by review__risk_level review__rules
    review__late_since review__is_apart review__held_at addresses outside
    has_attachments mail_error started_by run_id thread_id shape connection mailbox
    revision mailbox__address mailbox__upstream_id revision__fingerprint
""".split()


def _rows_of(actor: Actor) -> QuerySet[Any, Any]:
    """Return pairs of message and row key: this person's claims, snoozes and approvals
    that need others, and the questions and reminders to them.
    """
    person = actor.person_id
    kinds: list[QuerySet[Any]] = [
        Claim.objects.of_person(person).lasting(),
        Snooze.objects.of_person(person).running(),
        Question.objects.of_person(person),
        # An approval of an earlier version counts no more: that message waits for this
        # person again.
        Verdict.objects.filter(
            person=person, awaits_others=True, revision=F("message__revision")
        ),
        Reminder.objects.filter(person=person),
    ]
    first, *others = (rows.order_by().values_list("message", "pk") for rows in kinds)
    return first.union(*others, all=True)
