"""What people and rules decided about a message, and what came of it. Rules live in the commands, not here."""

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from approvals.querysets import DecisionQuerySet, VerdictQuerySet
from mirror.models.messages import Message, Revision
from mirror.querysets import CAN_EXPIRE, READS_THAT_PROVE
from mirror.states import LIVE_DECISIONS, DecisionState, Outcome


class Verdict(models.Model):
    """What one person said to one revision."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="verdicts")
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    outcome = models.CharField(max_length=10, choices=Outcome)
    reason = models.TextField(blank=True)
    surface = models.CharField(max_length=16)
    # Whole seconds from when this revision was first on the person's screen, as the ledger has it; empty: never noted.
    seconds_shown = models.PositiveIntegerField(null=True, blank=True)
    # How many parts of the letter (files, links, thread) the person was never given; empty: not noted then.
    parts_unread = models.PositiveSmallIntegerField(null=True, blank=True)
    # What was on screen with it, as `deciding.seen` writes it; empty: given before that was kept.
    seen = models.JSONField(default=dict, blank=True)
    # No longer counted once the decision that it led to was undone or refused.
    live = models.BooleanField(default=True)
    given_at = models.DateTimeField(db_default=Now())

    objects = VerdictQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["message", "person"], condition=Q(live=True), name="verdict_once"),
            models.CheckConstraint(condition=Q(outcome__in=Outcome.values), name="verdict_outcome_known"),
        ]
        # Those of the last week, for the home page; rows come in the order of time.
        indexes = [BrinIndex(fields=["given_at"], name="verdict_given_brin")]

    def __str__(self) -> str:
        return f"{self.outcome} by {self.person}"


class Decision(models.Model):
    """What the desk has decided and must carry out, at most once."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="decisions")
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT)
    outcome = models.CharField(max_length=10, choices=Outcome)
    reason = models.TextField(blank=True)
    # Goes upstream at the end of the reason: the only mark of ours that comes back.
    reference = models.CharField(max_length=24, unique=True)
    state = models.CharField(max_length=14, choices=DecisionState, default=DecisionState.RECORDED)
    given_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT)
    # The rule that decided where no person did, such as "expiry".
    rule = models.CharField(max_length=40, blank=True)
    recorded_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField()
    attempt = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(db_default=Now())
    # Set once a call may have left: from then on nothing is undone, and silence proves nothing.
    may_have_left = models.BooleanField(default=False)
    # How many complete reads have shown the message still held, or absent, since the doubt began.
    seen_held = models.PositiveSmallIntegerField(default=0)
    seen_absent = models.PositiveSmallIntegerField(default=0)
    upstream_answer = models.JSONField(default=dict)
    explanation = models.TextField(blank=True)

    objects = DecisionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["message"], condition=Q(state__in=LIVE_DECISIONS), name="one_live_decision"
            ),
            models.CheckConstraint(condition=Q(state__in=DecisionState.values), name="decision_state_known"),
            models.CheckConstraint(condition=Q(outcome__in=Outcome.values), name="decision_outcome_known"),
        ]
        indexes = [
            # The executor's and the sweep's question: what is there to do?
            models.Index(
                fields=["due_at"], condition=Q(state__in=("recorded", "calling", "unknown")), name="decision_to_do"
            ),
            # Was an earlier version of what comes now sent back?
            models.Index(fields=["recorded_at"], condition=Q(outcome="send_back"), name="decision_sent_back"),
            # What MultiMail has taken, and may not have told the mirror yet.
            models.Index(fields=["changed_at"], condition=Q(state="applied"), name="decision_applied"),
            # What a person should look at: in doubt, or not carried out.
            models.Index(
                fields=["changed_at"],
                condition=Q(state__in=("unknown", "unattributed", "withdrawn", "refused")),
                name="decision_to_look_at",
            ),
            # Those of the last week, for the home page; rows come in the order of time.
            BrinIndex(fields=["recorded_at"], name="decision_recorded_brin"),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} {self.state}"

    @property
    def can_expire(self) -> bool:
        """Whether its message's expiry stops it: an approve, but while its call runs."""
        return self.outcome == Outcome.APPROVE and self.state in CAN_EXPIRE

    @property
    def has_been_read_as_held(self) -> bool:
        """Whether complete reads have shown, often enough, that MultiMail still holds the message."""
        return self.seen_held >= READS_THAT_PROVE

    @property
    def giver(self) -> str:
        """Who decided, for the middle of a sentence: a person's name, or the rule."""
        if self.given_by:
            return str(self.given_by)
        return "the expiry rule" if self.rule == "expiry" else "a rule"

    @property
    def word(self) -> str:
        """The outcome as a past participle, for sentences."""
        return {"approve": "approved", "reject": "rejected", "send_back": "returned for changes"}[self.outcome]

    @property
    def result(self) -> str:
        """The outcome as a status: "Changes requested"."""
        return "Changes requested" if self.outcome == "send_back" else self.word.capitalize()

    @property
    def deed(self) -> str:
        """The outcome as what its giver did with the message: "approved it"."""
        return "requested changes" if self.outcome == "send_back" else f"{self.word} it"


class DecisionAttempt(models.Model):
    """What happened at one attempt to carry a decision out: rows are only added."""

    decision = models.ForeignKey(Decision, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    event = models.CharField(max_length=20)
    status = models.PositiveIntegerField(null=True, blank=True)
    note = models.TextField(blank=True)
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.number} {self.event}"
