"""Reads of messages by their decisions, claims, snoozes and questions."""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, Self
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.db.models import (
    BigIntegerField,
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
from django.db.models.functions import Cast, Coalesce, Greatest, Least, Now

from approvals.models import Claim, Decision, Question, Snooze, Verdict
from approvals.reminders import Reminder
from common.grace import WORD_AFTER
from common.postgres.statements import (
    ANY,
    ANY_ID,
    NAMED_LATER,
    RowQuery,
    ValueQuery,
    any_of,
    array_of,
    give_prefetched,
    read_values,
)
from mirror.models import Connection, Message
from mirror.querysets.messages import MessageQuerySet, anybody_like, asked_by
from mirror.querysets.terms import BACK_BEFORE, CAN_EXPIRE, EXPIRY_REST, IN_DOUBT, LATELY, TOLD_BEFORE
from mirror.states import LIVE_DECISIONS, DecisionState, MessageState, Outcome
from people.actors import Actor


def with_decision_in(*states: str) -> Exists:
    """The condition that a message has a decision in one of these states; it counts no message twice."""
    return Exists(Decision.objects.filter(message=OuterRef("pk"), state__in=states))


class DeskMessageQuerySet(MessageQuerySet):
    """Reads of what is waiting, for whom, and what is being sent."""

    def awaiting_review(self) -> Self:
        """Held and not decided, or held again since (relies on the partial index message_held)."""
        # What took effect before the message last changed no longer counts.
        decided = Q(state__in=LIVE_DECISIONS) | Q(state=DecisionState.APPLIED, changed_at__gte=OuterRef("changed_at"))
        decisions = Decision.objects.filter(decided, message=OuterRef("pk"))
        return self.filter(~Exists(decisions), state=MessageState.HELD)

    def in_queue(self) -> Self:
        """What awaits review and is not set apart (relies on message_held)."""
        return self.awaiting_review().filter(is_apart=False)

    def waiting_for(self, actor: Actor) -> Self:
        """What awaits this person's review in the queue: not what they snoozed or approved, nor what was set apart."""
        waiting = self.visible_to(actor).in_queue()
        if actor.kind != "person":
            return waiting
        return waiting.filter(~_snoozed_by(actor), ~Exists(_approval_by(actor)))

    def snoozed_by(self, actor: Actor) -> Self:
        """What awaits review and this person has snoozed."""
        return self.visible_to(actor).awaiting_review().filter(_snoozed_by(actor), is_apart=False)

    def set_apart(self) -> Self:
        """What awaits review apart from the queue, because a cap was passed (message_apart)."""
        return self.filter(is_apart=True).awaiting_review()

    def of(self, actor: Actor) -> Self:
        """Held messages of this person: claimed, snoozed or approved by them, or with a question or reminder to them.

        Approved: as one of several who have to.
        """
        waiting = self.visible_to(actor).awaiting_review()
        if actor.kind != "person":
            return waiting.none()
        # By keys: these lists are short, the queue is not.
        return waiting.filter(pk__in=_left_by(actor, "message"))

    def asked_of(self, actor: Actor) -> Self:
        """What awaits review and has a question to this person that they have not answered."""
        questions = Question.objects.of_person(int(actor.id))
        return self.visible_to(actor).awaiting_review().filter(pk__in=questions.values("message"))

    def mine_stamp(self, actor: Actor) -> str:
        """Return a value that changes whenever one of this person's own lists does."""
        return str(sorted(_left_by(actor, "message", "pk")[:1001]))

    def leaving(self) -> Self:
        """Decided here and not yet carried out, or carried out but not yet reported to the mirror.

        Relies on decision_to_do and decision_applied.
        """
        return self.filter(_going(DecisionState.RECORDED, DecisionState.CALLING))

    def leaving_by_standing(self) -> Self:
        """Approved by a standing approval, and not yet carried out (decision_to_do)."""
        waits = Decision.objects.order_by().filter(state=DecisionState.RECORDED, standing__isnull=False)
        return self.filter(pk__in=waits.values("message"))

    def numbers_by_brake(self) -> dict[int, int]:
        """Return how many of these there are of each flood."""
        counted = self.order_by().values("brake").annotate(number=Count("pk"))
        return dict(counted.values_list("brake", "number"))

    def count_waiting_for(self, actor: Actor) -> int:
        """Return exactly how many wait for this person: the held ones except those being sent, apart or snoozed.

        This reads only an index (message_held), so a hundred thousand are affordable.
        """
        held = self.visible_to(actor).filter(state=MessageState.HELD)
        counts = {"held": held, "going": held.filter(_going(*LIVE_DECISIONS), is_apart=False)}
        counts["apart"] = held.filter(is_apart=True)
        if actor.kind == "person":
            counts["put off"] = self.snoozed_by(actor)
            counts["approved"] = held.filter(Exists(_approval_by(actor)), ~_snoozed_by(actor))
        sizes = {name: rows.order_by().count() for name, rows in counts.items()}
        return max(0, sizes.pop("held") - sum(sizes.values()))

    def in_doubt(self) -> Self:
        """Decided here, with an unknown outcome."""
        return self.filter(with_decision_in(*IN_DOUBT))

    def for_list(self) -> Self:
        """With everything a row of the queue shows."""
        decisions = Decision.objects.select_related("given_by").order_by("-pk")
        return self.with_content_and_claim().prefetch_related(Prefetch("decisions", queryset=decisions))

    def with_content_and_claim(self) -> Self:
        """With everything a row of the queue shows except decisions, which `read_decisions` reads."""
        return self.select_related("mailbox", "connection", "revision", "claim__person")

    def knowing_if_decided(self) -> Self:
        """Annotated with `has_decisions`, which spares most messages a query."""
        return self.annotate(has_decisions=Exists(Decision.objects.filter(message=OuterRef("pk"))))

    def for_rows(self) -> Self:
        """With only what one line of a list shows: no content, and no connection secret to decrypt.

        Their decisions are read by `read_decisions`.
        """
        return self.select_related("mailbox", "revision", "claim__person").only(*_SHOWN).knowing_if_decided()

    def late_by_mailbox(self) -> QuerySet[Any, Any]:
        """Return how many are late in each mailbox, the one with the longest late first (message_late)."""
        counted = self.late().order_by().values("mailbox__address")
        return counted.annotate(number=Count("pk"), first=Min("late_since")).order_by("first")[:20]

    def nearly_over(self) -> Self:
        """Undecided, not announced yet, and expiring within an hour, or a tenth of their time where that is shorter.

        Relies on message_expiry.
        """
        decisions = Decision.objects.filter(message=OuterRef("pk"))
        ahead = Least(
            Value(TOLD_BEFORE),
            ExpressionWrapper((F("expires_at") - F("held_at")) / 10, DurationField()),
            output_field=DurationField(),
        )
        soon = self.real().filter(state=MessageState.HELD, expires_at__gt=Now(), expires_at__lte=Now() + TOLD_BEFORE)
        near = soon.filter(expiry_told_at=None, expires_at__lte=Now() + ahead)
        return near.exclude(Exists(decisions.filter(state__in=LIVE_DECISIONS)))

    def not_asked_by(self, version: QuerySet[Any, Any]) -> Self:
        """Held, fetched and undecided, and not asked about by this version of the policy yet (message_policy)."""
        asked_before = self.real().filter(policy_applied__lt=Subquery(version), hydrated_at__isnull=False)
        return asked_before.awaiting_review()

    def past_expiry(self, *, rule: str) -> Self:
        """Held although expired by the database's clock, with no decision under way that ends them.

        After a refused reject of the rule there is a pause before the next (relies on message_expiry).
        """
        decisions = Decision.objects.filter(message=OuterRef("pk"))
        # A message that was listed again expires like any other.
        since = Q(changed_at__gte=OuterRef("changed_at"))
        ended = Q(state__in=(DecisionState.APPLIED, DecisionState.SUPERSEDED)) & since
        on_its_way = Q(state__in=LIVE_DECISIONS) & ~Q(state__in=CAN_EXPIRE, outcome=Outcome.APPROVE)
        resting = Q(rule=rule, state=DecisionState.REFUSED, changed_at__gt=Now() - EXPIRY_REST)
        over = self.real().filter(state=MessageState.HELD, expires_at__lte=Now()).exclude(hydrated_at=None)
        return over.exclude(Exists(decisions.filter(ended | on_its_way | resting)))


def desk_messages() -> DeskMessageQuerySet:
    """Return all messages for the reads above, without the columns that `MessageManager` leaves out."""
    return DeskMessageQuerySet(Message).defer("search", "bands")


def shown_message(actor: Actor, public_id: UUID) -> Message | None:
    """Return a message with everything that its page and a row show, or None where this person may not see it."""
    message = _shown_message(anybody_like(actor)).first(asked_by(actor) | {ANY_ID: public_id})
    if message is not None:
        read_decisions([message])
    return message


@lru_cache(maxsize=1000)
def _shown_message(actor: Actor) -> RowQuery[Message]:
    shown = desk_messages().visible_to(actor).with_content_and_claim().knowing_if_decided()
    return RowQuery(shown.filter(public_id=ANY_ID))


def read_decisions(messages: Sequence[Message]) -> None:
    """Read the decisions of these messages, newest first, as prefetching them would; most rows have none."""
    found: dict[int, list[Decision]] = {message.pk: [] for message in messages}
    decided = [message.pk for message in messages if getattr(message, "has_decisions", True)]
    for decision in _decisions().read({NAMED_LATER: array_of(decided)}) if decided else ():
        found[decision.message_id].append(decision)
    for message in messages:
        give_prefetched(message, "decisions", found[message.pk])


@cache
def _decisions() -> RowQuery[Decision]:
    keys = Cast(Value(NAMED_LATER), ArrayField(BigIntegerField()))
    decided = Decision.objects.filter(Among(F("message"), keys))
    return RowQuery(decided.select_related("given_by").order_by("-pk"))


def awaits_review(message: int) -> bool:
    """Whether the message of this key awaits review."""
    return bool(read_values({"awaits": awaits_review_part(message)})["awaits"])


def awaits_review_part(message: int) -> ValueQuery:
    """Return the query for whether the message of this key awaits review."""
    return _awaits().with_values({ANY: message})


@cache
def _awaits() -> ValueQuery:
    return any_of(desk_messages().filter(pk=ANY).awaiting_review())


class Among(Func):
    """Whether a key is in a list of keys, computed once; PostgreSQL plans for such a list being short."""

    template = "(%(expressions)s))"
    arg_joiner = " = ANY ("
    output_field = BooleanField()


def _going(*states: str) -> Among:
    """The condition that a message has a decision in one of these states, or is still held although one was applied.

    Only recently applied decisions are searched, since shortly before the last whole reads: a whole read updates the
    mirror. A connection that was not read for longer had no decision applied.
    """
    decisions = Decision.objects.order_by()
    lately = Now() - LATELY
    read = Connection.objects.order_by().annotate(read=Coalesce("complete_as_of", lately)).filter(read__gte=lately)
    first = Coalesce(Subquery(read.order_by("read").values("read")[:1]), Now())
    # A subquery instead of a join: PostgreSQL overestimates these rows, and would read all held messages for a join.
    held = Message.objects.order_by().filter(
        pk=OuterRef("message"), state=MessageState.HELD, changed_at__lte=OuterRef("changed_at")
    )
    applied = (
        decisions.filter(state=DecisionState.APPLIED, changed_at__gt=Greatest(lately, first - Value(WORD_AFTER)))
        .alias(held=Subquery(held.values("pk")[:1]))
        .filter(held__isnull=False)
    )
    going = decisions.filter(state__in=states).values("message").union(applied.values("message"), all=True)
    return Among(F("pk"), ArraySubquery(going))


_SHOWN = (
    *(
        "public_id",
        "upstream_id",
        "direction",
        "state",
        "sandbox",
        "is_practice",
        "sender",
        "recipients",
        "subject",
        "trigger",
    ),
    *("reported", "held_at", "hydrated_at", "expires_at", "late_since", "changed_at", "fetch_tries", "try_number"),
    "upstream_decided_by",
    *("risk", "risk_level", "rules", "addresses", "outside", "has_attachments", "started_by", "run_id", "thread_id"),
    *(
        "shape",
        "is_apart",
        "connection",
        "mailbox__address",
        "mailbox__upstream_id",
        "revision__findings",
        "revision__fingerprint",
    ),
    *("claim__seen_at", "claim__is_assigned"),
    *("claim__person__name", "claim__person__email", "claim__person__is_active"),
)


def _left_by(actor: Actor, *columns: str) -> QuerySet[Any, Any]:
    """Return this person's live claims, snoozes and approvals, and the questions and reminders to them."""
    person = int(actor.id)
    claims = Claim.objects.of_person(person).live().order_by().values_list(*columns)
    snoozes = Snooze.objects.of_person(person).filter(until__gt=Now()).order_by().values_list(*columns)
    questions = Question.objects.of_person(person).order_by().values_list(*columns)
    approved = _waiting_approvals(actor).order_by().values_list(*columns)
    reminders = Reminder.objects.filter(person=person).order_by().values_list(*columns)
    return claims.union(snoozes, questions, approved, reminders, all=True)


def _waiting_approvals(actor: Actor) -> QuerySet[Any, Any]:
    """Return this person's approvals of what others still have to approve (verdict_awaiting)."""
    mine = Verdict.objects.filter(person=int(actor.id), awaits_others=True)
    # Of an earlier version, an approval counts no more: that message waits for this person again.
    return mine.filter(revision=F("message__revision"))


def _approval_by(actor: Actor) -> QuerySet[Verdict]:
    """Return this person's approval of the message's version, where others still have to approve (verdict_awaiting)."""
    mine = Verdict.objects.filter(person=int(actor.id), awaits_others=True)
    # Of an earlier version, an approval counts no more: that message waits for this person again.
    return mine.filter(message=OuterRef("pk"), revision=OuterRef("revision"))


def _snoozed_by(actor: Actor) -> Q:
    snoozes = Snooze.objects.of_person(int(actor.id)).filter(message=OuterRef("pk"), until__gt=Now())
    far = Q(expires_at=None) | Q(expires_at__gt=Now() + BACK_BEFORE)
    return far & Q(Exists(snoozes))
