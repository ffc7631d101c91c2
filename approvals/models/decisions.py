"""Decisions: what the desk must carry out, at most once, and what happened at each
attempt.
"""

from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Self

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Count, Exists, F, FloatField, OuterRef, Q, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Extract, Now
from django.utils import timezone

from approvals.models.verdicts import MOST, WEEK, Percentile
from common.actors import Role
from common.grace import STUCK_AFTER, WORD_AFTER
from mirror.models import Connection, Message, Revision
from mirror.models.connections import is_rested
from mirror.models.messages import OfMessagesQuerySet
from mirror.states import LIVE_DECISIONS, DecisionState, MessageState, Outcome
from mirror.terms import IN_DOUBT, LATELY, LET_GO, READS_THAT_PROVE, UNSETTLED, VOID
from people.models import Grant, Person
from policy.models import KillSwitch, StandingApproval, standing_words


def _stops() -> QuerySet[KillSwitch]:
    """The kill switches that keep a decision from being carried out."""
    return KillSwitch.objects.stopping(
        connection=OuterRef("message__connection"), mailbox=OuterRef("message__mailbox")
    )


class DecisionQuerySet(OfMessagesQuerySet["Decision"]):
    """Reads of decisions; due times and leases are judged by the database's clock."""

    def of_the_week(self) -> Self:
        """Made in the last seven days (relies on decision_recorded_brin)."""
        return self.filter(recorded_at__gte=Now() - WEEK)

    def by_people(self) -> Self:
        """Made by a person, and not undone."""
        return self.filter(rule="").exclude(state=DecisionState.UNDONE)

    def times(self) -> dict[str, Any]:
        """Return how many were decided, and the median and 95th percentile of seconds
        from held on.
        """
        newest = self.order_by("-pk").values("pk")[:MOST]
        found = self.model.objects.filter(pk__in=newest).with_decision_time()
        return found.aggregate(
            number=Count("pk"),
            median=Percentile("took", 0.5),
            most=Percentile("took", 0.95),
        )

    def caught_by_rule(self) -> list[tuple[str, int, int]]:
        """Return for each published rule how many messages with a finding of it were
        rejected and sent back.

        Messages without findings are counted under an empty name.
        """
        effective = self.filter(
            outcome__in=(Outcome.REJECT, Outcome.SEND_BACK)
        ).exclude(state=DecisionState.REFUSED)
        newest = effective.order_by("-pk").values_list(
            "outcome", "message__review__rules"
        )[:MOST]
        caught: Counter[tuple[str, str]] = Counter()
        for outcome, rules in newest:
            caught.update((rule, outcome) for rule in rules or [""])
        names = {rule for rule, _ in caught}
        return [
            (rule, caught[rule, Outcome.REJECT], caught[rule, Outcome.SEND_BACK])
            for rule in names
        ]

    def between(self, since: datetime, until: datetime) -> Self:
        """Made in a time span, without its end (relies on decision_recorded_brin)."""
        return self.filter(recorded_at__gte=since, recorded_at__lt=until)

    def with_decision_time(self) -> Self:
        """With `took`, the seconds between hold and decision."""
        waited = F("recorded_at") - F("message__held_at")
        return self.annotate(took=Cast(Extract(waited, "epoch"), FloatField()))

    def postpone(self, wait: timedelta) -> int:
        """Postpone those that are due before this time from now, and not yet, by the
        database's clock; return how many.

        What is due later keeps its time: it may be an approval for tomorrow.
        """
        waiting = self.filter(
            state=DecisionState.RECORDED, may_have_left=False, due_at__gt=Now()
        )
        waiting = waiting.filter(due_at__lt=Now() + wait)
        return waiting.update(due_at=Now() + wait)

    def live(self) -> Self:
        """Those that still count."""
        return self.filter(state__in=LIVE_DECISIONS)

    def going(
        self, states: Collection[str] = (DecisionState.RECORDED, DecisionState.CALLING)
    ) -> Self:
        """Those in one of these states: to be carried out, or not yet reported although
        they took effect.

        Of those that took effect only recent ones are searched, since shortly before
        the last whole reads: a whole read updates the mirror. On a connection that was
        not read for longer, nothing took effect. Relies on decision_to_do and
        decision_applied.
        """
        lately = timezone.now() - LATELY
        read = Connection.objects.exclude(complete_as_of__lt=lately).values_list(
            "complete_as_of", flat=True
        )
        first = min((at or lately for at in read), default=timezone.now())
        not_reported = Q(
            state=DecisionState.APPLIED, changed_at__gt=max(lately, first - WORD_AFTER)
        )
        not_reported &= Q(
            message__state=MessageState.HELD, message__changed_at__lte=F("changed_at")
        )
        return self.filter(Q(state__in=states) | not_reported)

    def on(self, messages: QuerySet[Message]) -> Self:
        """Those on these messages."""
        return self.filter(message__in=messages)

    def recorded_since(self, at: datetime | Combinable) -> Self:
        """Those made at that time or later."""
        return self.filter(recorded_at__gte=at)

    def applied_as(self, *outcomes: str) -> Self:
        """Those that took effect, with one of these outcomes."""
        return self.filter(state=DecisionState.APPLIED, outcome__in=outcomes)

    def in_doubt(self) -> Self:
        """Those whose effect is not known."""
        return self.filter(state__in=IN_DOUBT)

    def left_in_doubt(self) -> Self:
        """In doubt, and a person has to end it, or reads should have ended it (relies
        on decision_to_look_at).

        Listed at once where only a person can act: send again what two reads showed as
        held, or reject at MultiMail what was withdrawn.
        """
        approve = Q(outcome=Outcome.APPROVE)
        again = Q(state=DecisionState.UNKNOWN, seen_held__gte=READS_THAT_PROVE)
        again &= Q(message__connection__repeats_unknown_approvals=False)
        may_leave = Q(state=DecisionState.WITHDRAWN, message__state=MessageState.HELD)
        return self.in_doubt().filter(
            approve & (again | may_leave) | Q(changed_at__lt=Now() - STUCK_AFTER)
        )

    def under_lock(self) -> Self:
        """Locked, in a fixed order; waits for transactions that are ending one."""
        return (
            self.select_related("message", "revision")
            .select_for_update(of=("self",))
            .order_by("pk")
        )

    def sent_back_between(self, since: datetime, until: datetime) -> Self:
        """Requests for changes whose next version nobody has approved yet (relies on
        decision_sent_back).
        """
        answered = Exists(
            Message.objects.filter(answers=OuterRef("message"), state__in=LET_GO)
        )
        asked = self.filter(
            outcome=Outcome.SEND_BACK, recorded_at__gte=since, recorded_at__lte=until
        )
        return asked.exclude(state__in=VOID).exclude(answered)

    def to_settle(self) -> Self:
        """Those that a report of MultiMail on the message can end."""
        return self.filter(state__in=UNSETTLED)

    def may_still_take_effect(self) -> Self:
        """Approvals that were stopped when their call may have left, and that may still
        take effect: MultiMail was not read twice yet as holding the message.
        """
        return self.filter(
            state=DecisionState.WITHDRAWN,
            outcome=Outcome.APPROVE,
            seen_held__lt=READS_THAT_PROVE,
        )

    def due(self) -> Self:
        """Ready to be carried out now, with nothing stopping them. No decision on a
        local message, which MultiMail does not have, is ever carried out.
        """
        ready = self.filter(
            state=DecisionState.RECORDED, due_at__lte=Now(), message__is_local=False
        )
        return ready._on_well_connections().filter(~Exists(_stops()))

    def _on_well_connections(self) -> Self:
        return self.filter(
            is_rested("message__connection__"), message__connection__paused_at=None
        )

    def still_allowed(self, attempt: "Decision") -> Self:
        """The row of a running attempt, as long as its call may be made.

        It is unchanged, and its lease has not expired. No kill switch, pause, wait or
        expiry stops the call. An active person who still is a reviewer of the mailbox
        made it, or a standing approval in force, or a rule; which of them it was never
        changes.

        Each condition is a subquery of its own. Joined in, they would make Django wrap
        the row's own conditions into a subquery too, and PostgreSQL does not look at
        those again when the row changed while the update waited for it.
        """
        message = attempt.message
        # At the address that the call goes to: it may have been changed meanwhile.
        here = Connection.objects.filter(
            pk=message.connection_id, api_url=message.connection.api_url, paused_at=None
        )
        in_time = Message.objects.real().filter(pk=message.pk)
        if attempt.is_approval:
            in_time = in_time.filter(Q(expires_at=None) | Q(expires_at__gt=Now()))
        stops = KillSwitch.objects.stopping(
            connection=message.connection_id, mailbox=message.mailbox_id
        )
        mine = self.filter(
            Exists(here.rested()),
            ~Exists(stops),
            Exists(in_time),
            pk=attempt.pk,
            attempt=attempt.attempt,
            state=DecisionState.CALLING,
            lease_until__gt=Now(),
        )
        if attempt.rule and not attempt.is_approval:
            return mine
        if attempt.standing_id is not None:
            standing = StandingApproval.objects.in_force()
            return mine.filter(Exists(standing.filter(pk=attempt.standing_id)))
        roles = Q(connection=None, mailbox=None) | Q(
            connection=message.connection_id, mailbox=None
        )
        if message.mailbox_id is not None:
            roles |= Q(mailbox=message.mailbox_id)
        grants = Grant.objects.filter(
            roles,
            role=Role.REVIEWER,
            person=attempt.given_by_id,
            person__is_active=True,
        )
        return mine.filter(Exists(grants))

    def approved_by_people_like(self, *, mailbox: int, key: str, shape: str) -> Self:
        """Applied approvals of people, of messages with this mailbox, key and text; the
        newest first.
        """
        alike = self.filter(
            message__mailbox=mailbox, message__sent_by_key=key, message__shape=shape
        )
        approved = alike.filter(
            outcome=Outcome.APPROVE, state=DecisionState.APPLIED, rule=""
        )
        return approved.select_related("message__revision").order_by("-pk")

    def being_carried_out(self) -> Self:
        """Those whose call may be on its way now."""
        return self.filter(state=DecisionState.CALLING, lease_until__gt=Now())

    def abandoned(self) -> Self:
        """Those whose lease expired during the call, which may have left."""
        return self.filter(state=DecisionState.CALLING, lease_until__lt=Now())

    def with_message(self) -> Self:
        """With what a sentence about each needs."""
        return self.select_related("message__connection", "message__mailbox")

    def stalled(self) -> Self:
        """Overdue for being carried out, whatever stops them (relies on
        decision_to_do).

        Those that a kill switch stops are listed at once, because only a person can end
        that.
        """
        late = Now() - STUCK_AFTER
        recorded = Q(state=DecisionState.RECORDED)
        is_stopped = recorded & Q(due_at__lte=Now()) & Exists(_stops())
        return self.filter(
            is_stopped
            | recorded & Q(due_at__lt=late)
            | Q(state=DecisionState.CALLING, lease_until__lt=late)
        )

    def held_back_by_switch(self) -> Self:
        """Those that would be carried out, but for a kill switch (relies on
        decision_to_do).
        """
        waits = Q(later_at__gt=Now())
        return self.filter(~waits, Exists(_stops()), state=DecisionState.RECORDED)

    def outdated_for_later(self) -> Self:
        """Approvals for later that could not be carried out when their time comes
        (relies on decision_to_do).

        The content changed, or the message expires before.
        """
        waiting = self.filter(
            state=DecisionState.RECORDED,
            may_have_left=False,
            later_at__gt=Now(),
            due_at__gt=Now(),
        )
        changed = ~Q(revision=F("message__revision"))
        return waiting.filter(
            changed | Q(message__expires_at__lte=F("due_at")),
            message__state=MessageState.HELD,
        )

    def refused_lately(self) -> Self:
        """Not carried out, lately, with nothing decided since: held again (relies on
        decision_to_look_at).
        """
        newer = self.model.objects.filter(
            message=OuterRef("message"), pk__gt=OuterRef("pk")
        )
        refused = self.filter(
            state=DecisionState.REFUSED, changed_at__gt=Now() - LATELY
        )
        return refused.filter(~Exists(newer), message__state=MessageState.HELD)

    def to_resolve(self) -> Self:
        """In doubt, and due to be looked up: often until two reads agree, then rarely.

        Not while the connection cannot be read. Withdrawn ones on a message that is
        gone, and unattributed ones, wait for a report or a person. Relies on
        decision_to_look_at.
        """
        leisurely = Q(seen_held__lt=READS_THAT_PROVE) | Q(due_at__lte=Now())
        old = self.resolvable().filter(
            leisurely, changed_at__lt=Now() - timedelta(seconds=2)
        )
        return old._on_well_connections()

    def resolvable(self) -> Self:
        """In doubt, and resolvable by a read of this decision, not only of its message."""
        moved = ~Q(message__state__in=(MessageState.HELD, MessageState.GONE))
        # Where MultiMail takes no reasons, no later read tells more of an unattributed
        # one.
        moved &= ~Q(
            state=DecisionState.UNATTRIBUTED,
            message__connection__refused_fields__contains=["reason"],
        )
        withdrawn = Q(state=DecisionState.WITHDRAWN, message__state=MessageState.HELD)
        return self.in_doubt().filter(
            Q(state=DecisionState.UNKNOWN) | withdrawn | moved
        )


class Decision(models.Model):
    """What the desk has decided and must carry out, at most once."""

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="decisions"
    )
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT)
    outcome = models.CharField(max_length=10, choices=Outcome)
    reason = models.TextField()
    # Sent at the end of the reason: the only identifier of ours that MultiMail returns.
    reference = models.CharField(max_length=24, unique=True)
    state = models.CharField(
        max_length=14, choices=DecisionState, default=DecisionState.RECORDED
    )
    # What the agent gets as data beside the reason (our gateway): `suggested_markdown`,
    # `replaced_by`, `changes`.
    feedback = models.JSONField(default=dict, db_default={})
    given_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT)
    # The rule that decided where no person did, such as "expiry".
    rule = models.CharField(max_length=40)
    # The standing approval that approved it where no person did; `rule` names its
    # number and version.
    standing = models.ForeignKey(
        "policy.StandingApproval",
        null=True,
        on_delete=models.PROTECT,
        related_name="decisions",
        db_index=False,
    )
    # Who signed that standing approval, by their names of then: every row of the queue
    # shows it.
    signed_by = models.CharField(max_length=400, default="", db_default="")
    recorded_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField()
    # The time that whoever approved it chose, and the time zone in which; None: as soon
    # as it cannot be undone.
    later_at = models.DateTimeField(null=True)
    later_zone = models.CharField(max_length=64, default="", db_default="")
    # The recipient's domain, for which that zone is offered the next time.
    later_domain = models.CharField(max_length=255, default="", db_default="")
    # Whether the next working hours were chosen.
    in_working_hours = models.BooleanField(default=False, db_default=False)
    # The newest message of the thread that they said to have read; checked again when
    # it is carried out later.
    thread_read = models.BigIntegerField(default=0, db_default=0)
    attempt = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(db_default=Now())
    # Set once a call may have left: from then on undo is impossible, and no answer
    # proves nothing.
    may_have_left = models.BooleanField(default=False)
    # How many complete reads have shown the message still held, or absent, since the
    # doubt began.
    seen_held = models.PositiveSmallIntegerField(default=0)
    seen_absent = models.PositiveSmallIntegerField(default=0)
    upstream_answer = models.JSONField(default=dict)
    explanation = models.TextField()

    objects = DecisionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["message"],
                condition=Q(state__in=LIVE_DECISIONS),
                name="one_live_decision",
            ),
            models.CheckConstraint(
                condition=Q(state__in=DecisionState.values), name="decision_state_known"
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=Outcome.values), name="decision_outcome_known"
            ),
            # Only a person approves, or a standing approval that two people signed.
            models.CheckConstraint(
                condition=~Q(outcome="approve")
                | Q(given_by__isnull=False)
                | Q(standing__isnull=False),
                name="decision_approved_by_somebody",
            ),
        ]
        indexes = [
            # For the executor and the sweep: decisions to carry out.
            models.Index(
                fields=["due_at"],
                condition=Q(state__in=("recorded", "calling", "unknown")),
                name="decision_to_do",
            ),
            # For finding the request for changes that a new message answers.
            models.Index(
                fields=["recorded_at"],
                condition=Q(outcome="send_back"),
                name="decision_sent_back",
            ),
            # Applied at MultiMail, perhaps not yet reported to the mirror.
            models.Index(
                fields=["changed_at"],
                condition=Q(state="applied"),
                name="decision_applied",
            ),
            # For the time zone that was chosen last for a domain.
            models.Index(
                fields=["later_domain"],
                condition=~Q(later_domain=""),
                name="decision_later",
            ),
            models.Index(
                fields=["standing"],
                condition=Q(standing__isnull=False),
                name="decision_standing",
            ),
            # For people to check: in doubt, or not carried out.
            models.Index(
                fields=["changed_at"],
                condition=Q(
                    state__in=("unknown", "unattributed", "withdrawn", "refused")
                ),
                name="decision_to_look_at",
            ),
            # Those of the last week, for the home page; rows come in the order of time.
            BrinIndex(fields=["recorded_at"], name="decision_recorded_brin"),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} {self.state}"

    @property
    def is_approval(self) -> bool:
        return self.outcome == Outcome.APPROVE

    @property
    def says_all(self) -> bool:
        """Whether no other decision of its message counts beside it: it is live, or the
        only one.
        """
        others = Decision.objects.filter(message=self.message_id).exclude(pk=self.pk)
        return self.state in LIVE_DECISIONS or not others.exists()

    @property
    def is_stoppable(self) -> bool:
        """Whether a standing approval decided it and it waits, so that anybody can stop
        it; by this host's clock.
        """
        waits = self.state == DecisionState.RECORDED and not self.may_have_left
        return bool(self.standing_id) and waits and self.due_at > timezone.now()

    @property
    def judges_content(self) -> bool:
        """Whether it rests on what the message says: a rule that rejects looks at no
        words.
        """
        return not self.rule or self.standing_id is not None

    @property
    def is_for_later(self) -> bool:
        """Whether it still waits for the time that was chosen, by this host's clock:
        for pages only.
        """
        is_waiting = (
            self.state == DecisionState.RECORDED
            and not self.attempt
            and self.later_at is not None
        )
        return is_waiting and self.due_at > timezone.now()

    @property
    def has_been_read_as_held(self) -> bool:
        """Whether complete reads have shown, often enough, that MultiMail still holds
        the message.
        """
        return self.seen_held >= READS_THAT_PROVE

    @property
    def giver(self) -> str:
        """Who decided, for the middle of a sentence: a person's name, or the rule."""
        if self.given_by:
            return str(self.given_by)
        if self.standing_id:
            return f"{standing_words(self.rule)} (signed by {self.signed_by})"
        return {"expiry": "the expiry rule", "policy": "the policy"}.get(
            self.rule.partition(" ")[0], "a rule"
        )

    @property
    def suggestion(self) -> str:
        """The text that the reviewer suggested instead, in Markdown; empty where there
        is none.
        """
        return str(self.feedback.get("suggested_markdown") or "")

    @property
    def word(self) -> str:
        """The outcome as a past participle, for sentences."""
        return {
            "approve": "approved",
            "reject": "rejected",
            "send_back": "returned for changes",
        }[self.outcome]

    @property
    def result(self) -> str:
        """The outcome as a status: "Changes requested"."""
        return (
            "Changes requested"
            if self.outcome == "send_back"
            else self.word.capitalize()
        )

    @property
    def deed(self) -> str:
        """The outcome as what its giver did with the message: "sent it back"."""
        return "requested changes" if self.outcome == "send_back" else f"{self.word} it"


class DecisionAttempt(models.Model):
    """What happened at one attempt to carry a decision out: rows are only added."""

    decision = models.ForeignKey(
        Decision, on_delete=models.CASCADE, related_name="attempts"
    )
    number = models.PositiveIntegerField()
    event = models.CharField(max_length=20)
    status = models.PositiveIntegerField(null=True)
    note = models.TextField()
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.number} {self.event}"
