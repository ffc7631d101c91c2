"""Reads of messages by where they stand at the desk: by their decisions, claims, snoozes and questions."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Self

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import (
    BooleanField,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    Func,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Coalesce, Greatest, Least, Now

from approvals.models import Claim, Decision, Question, Snooze
from common.grace import WORD_AFTER
from common.postgres.statements import ANY, ValueQuery, any_of, read_values
from mirror.models import Connection, Message
from mirror.querysets.messages import MessageQuerySet
from mirror.querysets.terms import BACK_BEFORE, CAN_EXPIRE, EXPIRY_REST, IN_DOUBT, LATELY, TOLD_BEFORE
from mirror.states import LIVE_DECISIONS, DecisionState, MessageState, Outcome
from people.actors import Actor


def with_decision_in(*states: str) -> Exists:
    """The condition that a message has a decision in one of these states; it counts no message twice."""
    return Exists(Decision.objects.filter(message=OuterRef("pk"), state__in=states))


def with_effect_since() -> Exists:
    """The condition that a decision took effect since the message is as it is; one from before it came back is over."""
    applied = Decision.objects.filter(state=DecisionState.APPLIED, message=OuterRef("pk"))
    return Exists(applied.filter(changed_at__gte=OuterRef("changed_at")))


class DeskMessageQuerySet(MessageQuerySet):
    """Where messages stand at the desk: what waits, for whom, and what is under way."""

    def awaiting_review(self) -> Self:
        """Held, and nobody has decided yet, or it came back since (relies on the partial index message_held)."""
        held = self.filter(state=MessageState.HELD)
        return held.exclude(with_decision_in(*LIVE_DECISIONS)).exclude(with_effect_since())

    def waiting_for(self, actor: Actor) -> Self:
        """What waits for this person: all that awaits review within sight, but what they have put off."""
        waiting = self.visible_to(actor).awaiting_review()
        return waiting.exclude(_snoozed_by(actor)) if actor.kind == "person" else waiting

    def snoozed_by(self, actor: Actor) -> Self:
        """What awaits review within sight, and what this person does not want to see before its time."""
        return self.visible_to(actor).awaiting_review().filter(_snoozed_by(actor))

    def of(self, actor: Actor) -> Self:
        """What is this person's among the held: claimed by them, put off by them, or with a question to them."""
        waiting = self.visible_to(actor).awaiting_review()
        if actor.kind != "person":
            return waiting.none()
        # By their keys: each of these lists is short, and the queue is not.
        return waiting.filter(pk__in=_left_by(actor, "message"))

    def asked_of(self, actor: Actor) -> Self:
        """What awaits review and has a question to this person that they have not answered."""
        questions = Question.objects.of_person(int(actor.id))
        return self.visible_to(actor).awaiting_review().filter(pk__in=questions.values("message"))

    def mine_stamp(self, actor: Actor) -> str:
        """Return what changes whenever one of this person's own lists does; each of them is short."""
        return str(sorted(_left_by(actor, "message", "pk")[:1001]))

    def leaving(self) -> Self:
        """Decided here, and not yet carried out, or MultiMail has taken it and not yet told the mirror.

        Relies on decision_to_do and decision_applied.
        """
        return self.filter(_going(DecisionState.RECORDED, DecisionState.CALLING))

    def count_waiting_for(self, actor: Actor) -> int:
        """Return how many wait for this person, to the end: the held but those under way or put off.

        Counted so, a hundred thousand cost what their index does (message_held).
        """
        held = self.visible_to(actor).filter(state=MessageState.HELD)
        counts = {"held": held, "going": held.filter(_going(*LIVE_DECISIONS))}
        if actor.kind == "person":
            counts["put off"] = self.snoozed_by(actor)
        sizes = {name: rows.order_by().count() for name, rows in counts.items()}
        return max(0, sizes.pop("held") - sum(sizes.values()))

    def in_doubt(self) -> Self:
        """Decided here, and what became of it is not known."""
        return self.filter(with_decision_in(*IN_DOUBT))

    def for_list(self) -> Self:
        """With everything a row of the queue shows."""
        decisions = Decision.objects.select_related("given_by").order_by("-pk")
        return self.select_related("mailbox", "connection", "revision", "claim__person").prefetch_related(
            Prefetch("decisions", queryset=decisions)
        )

    def for_rows(self) -> Self:
        """With what one line of a list shows and no more: no content, and no secret of a connection to decrypt.

        Their decisions come with `read_decisions`.
        """
        decisions = Decision.objects.filter(message=OuterRef("pk"))
        shown = self.select_related("mailbox", "revision", "claim__person").only(*_SHOWN)
        return shown.annotate(has_decisions=Exists(decisions))

    def nearly_over(self) -> Self:
        """Held for an hour more at most, or a tenth of their time where that is shorter, not told of yet and undecided.

        Relies on message_expiry.
        """
        decisions = Decision.objects.filter(message=OuterRef("pk"))
        ahead = Least(
            Value(TOLD_BEFORE),
            ExpressionWrapper((F("expires_at") - F("held_at")) / 10, DurationField()),
            output_field=DurationField(),
        )
        soon = self.filter(state=MessageState.HELD, expires_at__gt=Now(), expires_at__lte=Now() + TOLD_BEFORE)
        near = soon.filter(expiry_told_at=None, expires_at__lte=Now() + ahead)
        return near.exclude(Exists(decisions.filter(state__in=LIVE_DECISIONS)))

    def past_expiry(self, *, rule: str) -> Self:
        """Held although their time is over by the database's clock, and nothing is under way that ends them.

        Where the rule's own reject was refused, it rests a while before the next (relies on message_expiry).
        """
        decisions = Decision.objects.filter(message=OuterRef("pk"))
        # What came back since has its time over like any other.
        since = Q(changed_at__gte=OuterRef("changed_at"))
        ended = Q(state__in=(DecisionState.APPLIED, DecisionState.SUPERSEDED)) & since
        on_its_way = Q(state__in=LIVE_DECISIONS) & ~Q(state__in=CAN_EXPIRE, outcome=Outcome.APPROVE)
        resting = Q(rule=rule, state=DecisionState.REFUSED, changed_at__gt=Now() - EXPIRY_REST)
        over = self.filter(state=MessageState.HELD, expires_at__lte=Now()).exclude(hydrated_at=None)
        return over.exclude(Exists(decisions.filter(ended | on_its_way | resting)))


def desk_messages() -> DeskMessageQuerySet:
    """Return all messages, for the reads above; without what only the database reads, as `MessageManager` has it."""
    return DeskMessageQuerySet(Message).defer("search", "bands")


def read_decisions(messages: Sequence[Message]) -> None:
    """Read the decisions of these messages, newest first, as prefetching them would; most rows have none."""
    found: dict[int, list[Any]] = {message.pk: [] for message in messages}
    decided = [message.pk for message in messages if getattr(message, "has_decisions", True)]
    rows = Decision.objects.filter(message__in=decided).select_related("given_by").order_by("-pk") if decided else ()
    for decision in rows:
        found[decision.message_id].append(decision)
    for message in messages:
        read = Decision.objects.all()
        read._result_cache = found[message.pk]
        message._prefetched_objects_cache = {"decisions": read}  # type: ignore[attr-defined]


def awaits_review(message: int) -> bool:
    """Whether the message of this key awaits review."""
    return bool(read_values({"awaits": awaits_review_part(message)})["awaits"])


def awaits_review_part(message: int) -> ValueQuery:
    """Return how to ask whether the message of this key awaits review."""
    return _awaits().with_values({ANY: message})


@cache
def _awaits() -> ValueQuery:
    return any_of(desk_messages().filter(pk=ANY).awaiting_review())


class Among(Func):
    """Whether a key is in a list of keys that is made once: of such a list PostgreSQL expects to be short."""

    template = "(%(expressions)s))"
    arg_joiner = " = ANY ("
    output_field = BooleanField()


def _going(*states: str) -> Among:
    """The condition that a message has a decision in one of these states, or MultiMail took one and it still is held.

    Of what was taken, only what was so since the last whole reads, or somewhat before: such a read tells the mirror,
    and all that was ever taken is much. A connection that was not read for longer than that had nothing taken.
    """
    decisions = Decision.objects.order_by()
    lately = Now() - LATELY
    read = Connection.objects.order_by().annotate(read=Coalesce("complete_as_of", lately)).filter(read__gte=lately)
    first = Coalesce(Subquery(read.order_by("read").values("read")[:1]), Now())
    # As a value of each, not as a join: PostgreSQL takes these for many, and would read all that is held for them.
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
    *("public_id", "upstream_id", "direction", "state", "sandbox", "sender", "recipients", "subject", "trigger"),
    *("held_at", "hydrated_at", "expires_at", "changed_at", "fetch_tries", "try_number", "upstream_decided_by"),
    *("risk", "risk_level", "rules", "addresses", "outside", "has_attachments", "started_by", "run_id", "thread_id"),
    *("shape", "connection", "mailbox__address", "mailbox__upstream_id", "revision__findings", "revision__fingerprint"),
    *("claim__seen_at", "claim__person__name", "claim__person__email", "claim__person__is_active"),
)


def _left_by(actor: Actor, *columns: str) -> QuerySet[Any, Any]:
    """Return what makes messages this person's: their live claims, their snoozes, and the questions to them."""
    person = int(actor.id)
    claims = Claim.objects.of_person(person).live().order_by().values_list(*columns)
    snoozes = Snooze.objects.of_person(person).filter(until__gt=Now()).order_by().values_list(*columns)
    questions = Question.objects.of_person(person).order_by().values_list(*columns)
    return claims.union(snoozes, questions, all=True)


def _snoozed_by(actor: Actor) -> Q:
    snoozes = Snooze.objects.of_person(int(actor.id)).filter(message=OuterRef("pk"), until__gt=Now())
    far = Q(expires_at=None) | Q(expires_at__gt=Now() + BACK_BEFORE)
    return far & Q(Exists(snoozes))
