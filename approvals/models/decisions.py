"""Decisions, which the desk must carry out at MultiMail at most once.

The QuerySet has the queries of the workers: decisions that are due, abandoned, in
doubt.
"""

from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Self

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Count, Exists, F, FloatField, OuterRef, Q, QuerySet
from django.db.models.functions import Cast, Extract, Now
from django.utils import timezone

from approvals.models.reviews import MOST, WEEK, Percentile
from common.actors import Role
from common.endings import EndedBy
from common.grace import STUCK_AFTER, WORD_AFTER
from common.postgres import one_of
from mirror.models import Connection, Message, Revision
from mirror.models.connections import is_rested
from mirror.models.messages import OfMessagesQuerySet
from mirror.states import (
    IN_DOUBT,
    LATELY,
    LET_GO,
    LIVE_DECISIONS,
    READS_THAT_PROVE,
    TO_CARRY_OUT,
    UNREPORTED,
    VOID,
    DecisionState,
    Ending,
    MessageState,
    Outcome,
)
from people.models import Grant, Person
from policy.models import KillSwitch, PolicyVersion


def _stops() -> QuerySet[KillSwitch]:
    """Return the kill switches that stop a decision, as a subquery of decisions."""
    return KillSwitch.objects.stopping(
        connection=OuterRef("message__connection"), mailbox=OuterRef("message__mailbox")
    )


class DecisionQuerySet(OfMessagesQuerySet["Decision"]):
    """Reads of decisions. Due times and leases follow the database's clock."""

    def of_the_week(self) -> Self:
        """Decisions of the last seven days (relies on decision_recorded_brin)."""
        return self.filter(recorded_at__gte=Now() - WEEK)

    def by_people(self) -> Self:
        """Decisions of people, except undone ones."""
        return self.filter(rule="").exclude(state=DecisionState.UNDONE)

    def times(self) -> dict[str, Any]:
        """Return the `number` of decisions, and the `median` and the 95th percentile
        (`most`) of the seconds from hold to decision.
        """
        newest = self.order_by("-pk").values("pk")[:MOST]
        decisions = self.model.objects.filter(pk__in=newest).with_decision_time()
        return decisions.aggregate(
            number=Count("pk"),
            median=Percentile("took", part=0.5),
            most=Percentile("took", part=0.95),
        )

    def caught_by_rule(self) -> list[tuple[str, int, int]]:
        """Return for each risk rule: its name, and of the messages with its findings
        how many were rejected, and for how many changes were requested.

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
        return [
            (rule, caught[rule, Outcome.REJECT], caught[rule, Outcome.SEND_BACK])
            for rule in {rule for rule, _ in caught}
        ]

    def with_decision_time(self) -> Self:
        """Annotate with `took`, the seconds from hold to decision."""
        waited = F("recorded_at") - F("message__held_at")
        return self.annotate(took=Cast(Extract(waited, "epoch"), FloatField()))

    def postpone(self, wait: timedelta) -> int:
        """Postpone decisions that are due within `wait` until then; return how many.

        Decisions that are due already, by the database's clock, are left alone: a
        worker can take them at any moment. Decisions due after that time, such as
        approvals for tomorrow, are left alone too.
        """
        waiting = self.filter(
            state=DecisionState.RECORDED, may_have_left=False, due_at__gt=Now()
        )
        waiting = waiting.filter(due_at__lt=Now() + wait)
        return waiting.update(due_at=Now() + wait)

    def live(self) -> Self:
        """Decisions that are not over: to be carried out, or of unknown outcome."""
        return self.filter(state__in=LIVE_DECISIONS)

    def going(self, states: Collection[str] = TO_CARRY_OUT) -> Self:
        """Decisions in one of these states, which are to be carried out; and decisions
        that took effect while the mirror still has their message as held.

        Only decisions are searched that took effect since shortly before the oldest
        last whole read of a connection, because a whole read updates the mirror.
        Connections that were not read for longer than LATELY do not count: nothing took
        effect there. Relies on decision_to_do and decision_applied.
        """
        lately = timezone.now() - LATELY
        read_times = Connection.objects.exclude(complete_as_of__lt=lately).values_list(
            "complete_as_of", flat=True
        )
        oldest_read = min((at or lately for at in read_times), default=timezone.now())
        not_reported = Q(
            state=DecisionState.APPLIED,
            changed_at__gt=max(lately, oldest_read - WORD_AFTER),
        )
        not_reported &= Q(
            message__state=MessageState.HELD, message__changed_at__lte=F("changed_at")
        )
        return self.filter(Q(state__in=states) | not_reported)

    def in_force_on(self, message: Message) -> Self:
        """The decisions on a message that are being carried out, or that took effect
        since the message last changed; the newest first.
        """
        has_taken_effect = Q(
            state=DecisionState.APPLIED, changed_at__gte=message.changed_at
        )
        return (
            self.filter(has_taken_effect | Q(state__in=LIVE_DECISIONS), message=message)
            .select_related("given_by")
            .order_by("-pk")
        )

    def applied_as(self, *outcomes: str) -> Self:
        """Decisions with one of these outcomes that took effect."""
        return self.filter(state=DecisionState.APPLIED, outcome__in=outcomes)

    def in_doubt(self) -> Self:
        """Decisions for which it is not known whether, or how, they took effect."""
        return self.filter(state__in=IN_DOUBT)

    def left_in_doubt(self) -> Self:
        """Decisions in doubt that need a person, because reads cannot resolve them or
        should have by now (relies on decision_to_look_at).

        Two kinds are listed at once, because only a person can act: unknown approvals
        of messages that two reads showed as held, which can be sent again; and
        withdrawn approvals of held messages, which can be rejected at MultiMail.
        """
        approve = Q(outcome=Outcome.APPROVE)
        can_be_repeated = Q(
            state=DecisionState.UNKNOWN, seen_held__gte=READS_THAT_PROVE
        )
        can_be_repeated &= Q(message__connection__repeats_unknown_approvals=False)
        may_still_leave = Q(
            state=DecisionState.WITHDRAWN, message__state=MessageState.HELD
        )
        return self.in_doubt().filter(
            approve & (can_be_repeated | may_still_leave)
            | Q(changed_at__lt=Now() - STUCK_AFTER)
        )

    def under_lock(self) -> Self:
        """Lock the rows in a fixed order, which avoids deadlocks. Waits for
        transactions that are ending one of them.
        """
        return (
            self.select_related("message", "revision")
            .select_for_update(of=("self",))
            .order_by("pk")
        )

    def lock_free(self, key: int) -> "Decision | None":
        """Lock the decision with this key, if it is one of these, and return it. None
        also if another transaction has locked it.
        """
        free = self.select_related("message__connection", "revision").select_for_update(
            of=("self",), skip_locked=True
        )
        return free.filter(pk=key).first()

    def sent_back_between(self, since: datetime, until: datetime) -> Self:
        """Requests for changes that are not answered yet by a message that was approved
        (relies on decision_sent_back).
        """
        answered = Exists(
            Message.objects.filter(answers=OuterRef("message"), state__in=LET_GO)
        )
        requests = self.filter(
            outcome=Outcome.SEND_BACK, recorded_at__gte=since, recorded_at__lte=until
        )
        return requests.exclude(state__in=VOID).exclude(answered)

    def may_still_take_effect(self) -> Self:
        """Approvals that were withdrawn after their call may have left, and that may
        still take effect: two reads that show the message as held are still missing.
        """
        return self.filter(
            state=DecisionState.WITHDRAWN,
            outcome=Outcome.APPROVE,
            seen_held__lt=READS_THAT_PROVE,
        )

    def due(self) -> Self:
        """Decisions to carry out now, which nothing stops."""
        ready = self.filter(state=DecisionState.RECORDED, due_at__lte=Now())
        return ready._on_well_connections().filter(~Exists(_stops()))

    def _on_well_connections(self) -> Self:
        return self.filter(
            is_rested("message__connection__"), message__connection__paused_at=None
        )

    def still_allowed(self, attempt: "Decision") -> Self:
        """The row of a running attempt, if its call may still be made; otherwise
        nothing.

        The call may be made if the row is unchanged and its lease has not expired; if
        no kill switch, pause, wait or expiry stops it; and if whoever decided still
        may: an active person who is a reviewer of the mailbox, a pass of the active
        version that has not ended, or a rule that rejects.

        Each condition on another table is a subquery. With joins, Django would wrap the
        conditions on the row itself into a subquery too, and PostgreSQL does not check
        those again if the row changed while the update waited for it.
        """
        message = attempt.message
        # The address must be the one that the call goes to. An admin may have changed
        # it in the meantime.
        connections = Connection.objects.filter(
            pk=message.connection_id, api_url=message.connection.api_url, paused_at=None
        )
        unexpired = message.row
        if attempt.is_approval:
            unexpired = unexpired.filter(Q(expires_at=None) | Q(expires_at__gt=Now()))
        switches = KillSwitch.objects.stopping(
            connection=message.connection_id, mailbox=message.mailbox_id
        )
        own_row = self.filter(
            Exists(connections.rested()),
            ~Exists(switches),
            Exists(unexpired),
            pk=attempt.pk,
            attempt=attempt.attempt,
            state=DecisionState.CALLING,
            lease_until__gt=Now(),
        )
        if attempt.rule and not attempt.is_approval:
            return own_row
        if attempt.pass_id:
            in_force = PolicyVersion.objects.active().filter(
                passes__contains=[{"id": attempt.pass_id}]
            )
            return own_row.filter(Exists(in_force), pass_ends_at__gt=Now())
        scope = Q(connection=None, mailbox=None) | Q(
            connection=message.connection_id, mailbox=None
        )
        if message.mailbox_id is not None:
            scope |= Q(mailbox=message.mailbox_id)
        grants = Grant.objects.filter(
            scope,
            role=Role.REVIEWER,
            person=attempt.given_by_id,
            person__is_active=True,
        )
        return own_row.filter(Exists(grants))

    def by_pass(self) -> Self:
        """Decisions of passes (relies on decision_by_pass)."""
        return self.exclude(pass_id="")

    def being_carried_out(self) -> Self:
        """Decisions whose call may be under way now."""
        return self.filter(state=DecisionState.CALLING, lease_until__gt=Now())

    def abandoned(self) -> Self:
        """Decisions whose worker's lease expired during the call. The call may have
        left.
        """
        return self.filter(state=DecisionState.CALLING, lease_until__lt=Now())

    def stalled(self) -> Self:
        """Decisions that should have been carried out by now, whatever stops them
        (relies on decision_to_do).

        Decisions that a kill switch stops are listed as soon as they are due, because
        only a person can release the switch.
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
        """Decisions that only wait for a kill switch to be released, except approvals
        for later (relies on decision_to_do).
        """
        waits = Q(later_at__gt=Now())
        return self.filter(~waits, Exists(_stops()), state=DecisionState.RECORDED)

    def outdated_for_later(self) -> Self:
        """Approvals for later that cannot be carried out when their time comes, because
        the message is held no more, its content changed, or it expires before (relies
        on decision_to_do).
        """
        waiting = self.filter(
            state=DecisionState.RECORDED,
            may_have_left=False,
            later_at__gt=Now(),
            due_at__gt=Now(),
        )
        changed = ~Q(revision=F("message__revision"))
        has_ended = ~Q(message__state=MessageState.HELD)
        return waiting.filter(
            has_ended | changed | Q(message__expires_at__lte=F("due_at"))
        )

    def refused_lately(self) -> Self:
        """Decisions that were recently refused, on messages that are held again and
        were not decided since (relies on decision_to_look_at).
        """
        newer = self.model.objects.filter(
            message=OuterRef("message"), pk__gt=OuterRef("pk")
        )
        refused = self.filter(
            state=DecisionState.REFUSED, changed_at__gt=Now() - LATELY
        )
        return refused.filter(~Exists(newer), message__state=MessageState.HELD)

    def to_resolve(self) -> Self:
        """Decisions in doubt that are to be looked up at MultiMail now: often until two
        reads agree, then rarely.

        Decisions whose connection cannot be read are left out, and those that a read
        cannot resolve (`resolvable`). Relies on decision_to_look_at.
        """
        is_due = Q(seen_held__lt=READS_THAT_PROVE) | Q(due_at__lte=Now())
        settled_down = self.resolvable().filter(
            is_due, changed_at__lt=Now() - timedelta(seconds=2)
        )
        return settled_down._on_well_connections()

    def resolvable(self) -> Self:
        """Decisions in doubt that a read of MultiMail can resolve. The others wait for
        a report of MultiMail or for a person.
        """
        has_moved = ~Q(message__state__in=UNREPORTED)
        # Reads recognise a decision by the reference in its reason. If MultiMail takes
        # no reasons, they tell no more about an unattributed one.
        has_moved &= ~Q(
            state=DecisionState.UNATTRIBUTED,
            message__connection__refused_fields__contains=["reason"],
        )
        withdrawn = Q(state=DecisionState.WITHDRAWN, message__state=MessageState.HELD)
        return self.in_doubt().filter(
            Q(state=DecisionState.UNKNOWN) | withdrawn | has_moved
        )


class Decision(models.Model):
    """What a person or a rule decided about a message. The desk carries it out at
    MultiMail, at most once.
    """

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="decisions"
    )
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT)
    outcome = models.CharField(max_length=10, choices=Outcome)
    reason = models.TextField()
    # Sent at the end of the reason, because it is the only identifier of ours that
    # MultiMail returns.
    reference = models.CharField(max_length=24, unique=True)
    state = models.CharField(
        max_length=14, choices=DecisionState, default=DecisionState.RECORDED
    )
    # Data for the agent besides the reason, if our gateway holds the message:
    # `suggested_markdown`, `replaced_by`, `changes`.
    feedback = models.JSONField(default=dict, db_default={})
    given_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT)
    # The rule that decided, such as "expiry"; empty if a person did.
    rule = models.CharField(max_length=40)
    # The pass of the policy that approved the message, by its id; `rule` then names the
    # version too. Its name, its end, and who signed it are copied, because every row of
    # the queue shows them and the last check before the call asks.
    pass_id = models.CharField(max_length=12, default="", db_default="")
    pass_name = models.CharField(max_length=80, default="", db_default="")
    pass_ends_at = models.DateTimeField(null=True)
    signed_by = models.CharField(max_length=400, default="", db_default="")
    recorded_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField()
    # For an approval for later: the chosen time, and the time zone in which it was
    # chosen. None: it is carried out at the end of the undo window.
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
    # Set before the call is made. From then on the decision cannot be undone, and a
    # missing answer does not prove that it had no effect.
    may_have_left = models.BooleanField(default=False)
    # While the outcome is in doubt: how many complete reads have shown the message as
    # still held, and how many as absent.
    seen_held = models.PositiveSmallIntegerField(default=0)
    seen_absent = models.PositiveSmallIntegerField(default=0)
    # An `Ending`, or empty. The choices have whole sentences, and are not listed here:
    # other words for an ending are no change of the table.
    ending = models.CharField(max_length=14, default="", db_default="")
    explanation = models.TextField()

    objects = DecisionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["message"],
                condition=Q(state__in=LIVE_DECISIONS),
                name="one_live_decision",
            ),
            one_of("state", DecisionState.values, "decision_state_known"),
            one_of("outcome", Outcome.values, "decision_outcome_known"),
            one_of("ending", ("", *Ending.values), "decision_ending_known"),
            # Only a person approves, or a pass that two people signed.
            models.CheckConstraint(
                condition=~Q(outcome="approve")
                | Q(given_by__isnull=False)
                | ~Q(pass_id="") & ~Q(signed_by=""),
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
            # For decisions that took effect and that the mirror may not know yet.
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
            # For the limits of passes, and what passes still send.
            models.Index(
                fields=["pass_id", "recorded_at"],
                condition=~Q(pass_id=""),
                name="decision_by_pass",
            ),
            # For decisions that people have to check: in doubt, or refused.
            models.Index(
                fields=["changed_at"],
                condition=Q(
                    state__in=("unknown", "unattributed", "withdrawn", "refused")
                ),
                name="decision_to_look_at",
            ),
            # For the decisions of the last week on the home page. A BRIN index
            # suffices, because rows are added in the order of time.
            BrinIndex(fields=["recorded_at"], name="decision_recorded_brin"),
        ]

    @property
    def is_approval(self) -> bool:
        return self.outcome == Outcome.APPROVE

    @property
    def says_all(self) -> bool:
        """Whether the message's state follows from this decision alone: it is live, or
        the only decision of its message.
        """
        others = Decision.objects.filter(message=self.message_id).exclude(pk=self.pk)
        return self.state in LIVE_DECISIONS or not others.exists()

    @property
    def is_stoppable(self) -> bool:
        """Whether a pass made it and it still waits for its time, by this host's clock,
        so that people can stop it.
        """
        waits = self.state == DecisionState.RECORDED and not self.may_have_left
        return bool(self.pass_id) and waits and self.due_at > timezone.now()

    @property
    def judges_content(self) -> bool:
        """Whether the decision depends on the message's content. That of a rule that
        rejects does not.
        """
        return not self.rule or bool(self.pass_id)

    @property
    def is_for_later(self) -> bool:
        """Whether it is an approval for later that still waits for its time. This uses
        the host's clock, so it is for pages only.
        """
        is_waiting = (
            self.state == DecisionState.RECORDED
            and not self.attempt
            and self.later_at is not None
        )
        return is_waiting and self.due_at > timezone.now()

    @property
    def has_been_read_as_held(self) -> bool:
        """Whether enough complete reads have shown that MultiMail still holds the
        message.
        """
        return self.seen_held >= READS_THAT_PROVE

    @property
    def ended_by(self) -> EndedBy:
        """Whose act it is."""
        if self.pass_id:
            return EndedBy.PASS
        if self.rule == "expiry":
            return EndedBy.EXPIRY
        return EndedBy.RULE if self.rule else EndedBy.PERSON

    @property
    def giver(self) -> str:
        """Who decided, for the middle of a sentence: a person's name, or the rule."""
        if self.given_by:
            return str(self.given_by)
        if self.pass_id:
            return f"the pass “{self.pass_name}” (signed by {self.signed_by})"
        return {"expiry": "the expiry rule", "policy": "the policy"}.get(
            self.rule.partition(" ")[0], "a rule"
        )

    @property
    def suggestion(self) -> str:
        """The text in Markdown that the reviewer suggested instead; empty if there is
        none.
        """
        return str(self.feedback.get("suggested_markdown") or "")

    @property
    def is_edit(self) -> bool:
        """Whether it rejects a message because an edited version replaces it."""
        return bool(self.feedback.get("replaced_by"))

    @property
    def word(self) -> str:
        """The outcome as a past participle, for sentences."""
        if self.is_edit:
            return "edited"
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
        """The outcome as a verb with its object: "approved it", "requested changes"."""
        return "requested changes" if self.outcome == "send_back" else f"{self.word} it"
