"""The tables of the review desk: verdicts, decisions, claims, snoozes, comments. Rules are in the commands."""

from typing import Any, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import JSONObject, Lower, Now
from django.utils import timezone

import approvals.commanded
import approvals.planted
import approvals.reminders  # noqa: F401 - their tables are of this app
from approvals.querysets.collaboration import (
    ClaimQuerySet,
    CommentQuerySet,
    QuestionQuerySet,
    SavedViewQuerySet,
    SnoozeQuerySet,
)
from approvals.querysets.decisions import DecisionQuerySet
from approvals.querysets.figures import VerdictQuerySet
from approvals.querysets.replacements import ReplacementQuerySet
from common.actors import Actor
from mirror.models import Connection, Mailbox, Message, Revision
from mirror.states import LIVE_DECISIONS, DecisionState, Outcome
from mirror.terms import CAN_EXPIRE, READS_THAT_PROVE
from policy.standing_models import standing_words


class Verdict(models.Model):
    """One person's verdict on one revision."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="verdicts")
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    outcome = models.CharField(max_length=10, choices=Outcome)
    reason = models.TextField(blank=True)
    surface = models.CharField(max_length=16)
    # Whole seconds since this revision was first on the person's screen, by the ledger; None: not recorded.
    seconds_shown = models.PositiveIntegerField(null=True, blank=True)
    # How many parts of the message (files, links, thread) the person never opened; None: not recorded then.
    parts_unread = models.PositiveSmallIntegerField(null=True, blank=True)
    # What was on screen with it, as `decisions.shown.shown_context` writes it.
    seen = models.JSONField(default=dict, blank=True)
    # False once the decision that it led to was undone or refused.
    live = models.BooleanField(default=True)
    # An approval for which there is no decision yet, because more people have to approve.
    awaits_others = models.BooleanField(default=False, db_default=False)
    given_at = models.DateTimeField(db_default=Now())

    objects = VerdictQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["message", "person"], condition=Q(live=True), name="verdict_once"),
            models.CheckConstraint(condition=Q(outcome__in=Outcome.values), name="verdict_outcome_known"),
        ]
        # Those of the last week, for the home page; rows come in the order of time.
        indexes = [
            BrinIndex(fields=["given_at"], name="verdict_given_brin"),
            # What a person has approved and others still have to: hardly any.
            models.Index(fields=["person"], condition=Q(awaits_others=True), name="verdict_awaiting"),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} by {self.person}"


class Decision(models.Model):
    """What the desk has decided and must carry out, at most once."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="decisions")
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT)
    outcome = models.CharField(max_length=10, choices=Outcome)
    reason = models.TextField(blank=True)
    # Sent at the end of the reason: the only identifier of ours that MultiMail returns.
    reference = models.CharField(max_length=24, unique=True)
    state = models.CharField(max_length=14, choices=DecisionState, default=DecisionState.RECORDED)
    # What the agent gets as data beside the reason (our gateway): `suggested_markdown`, `replaced_by`, `changes`.
    feedback = models.JSONField(default=dict, db_default={}, blank=True)
    given_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT)
    # The rule that decided where no person did, such as "expiry".
    rule = models.CharField(max_length=40, blank=True)
    # The standing approval that approved it where no person did; `rule` names its number and version.
    standing = models.ForeignKey(
        "policy.StandingApproval",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="decisions",
        db_index=False,
    )
    # Who signed that standing approval, by their names of then: every row of the queue shows it.
    signed_by = models.CharField(max_length=400, blank=True, default="", db_default="")
    recorded_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField()
    # The time that whoever approved it chose, and the time zone in which; None: as soon as it cannot be undone.
    later_at = models.DateTimeField(null=True, blank=True)
    later_zone = models.CharField(max_length=64, blank=True, default="", db_default="")
    # The recipient's domain, for which that zone is offered the next time.
    later_domain = models.CharField(max_length=255, blank=True, default="", db_default="")
    # Whether the next working hours were chosen.
    in_working_hours = models.BooleanField(default=False, db_default=False)
    # The newest message of the thread that they said to have read; checked again when it is carried out later.
    thread_read = models.BigIntegerField(default=0, db_default=0)
    attempt = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(db_default=Now())
    # Set once a call may have left: from then on undo is impossible, and no answer proves nothing.
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
            # Only a person approves, or a standing approval that two people signed.
            models.CheckConstraint(
                condition=~Q(outcome="approve") | Q(given_by__isnull=False) | Q(standing__isnull=False),
                name="decision_approved_by_somebody",
            ),
        ]
        indexes = [
            # For the executor and the sweep: decisions to carry out.
            models.Index(
                fields=["due_at"], condition=Q(state__in=("recorded", "calling", "unknown")), name="decision_to_do"
            ),
            # For finding the request for changes that a new message answers.
            models.Index(fields=["recorded_at"], condition=Q(outcome="send_back"), name="decision_sent_back"),
            # Applied at MultiMail, perhaps not yet reported to the mirror.
            models.Index(fields=["changed_at"], condition=Q(state="applied"), name="decision_applied"),
            # For the time zone that was chosen last for a domain.
            models.Index(fields=["later_domain"], condition=~Q(later_domain=""), name="decision_later"),
            models.Index(fields=["standing"], condition=Q(standing__isnull=False), name="decision_standing"),
            # For people to check: in doubt, or not carried out.
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
    def says_all(self) -> bool:
        """Whether no other decision of its message counts beside it: it is live, or the only one."""
        others = Decision.objects.filter(message=self.message_id).exclude(pk=self.pk)
        return self.state in LIVE_DECISIONS or not others.exists()

    @property
    def is_stoppable(self) -> bool:
        """Whether a standing approval decided it and it waits, so that anybody can stop it; by this host's clock."""
        waits = self.state == DecisionState.RECORDED and not self.may_have_left
        return bool(self.standing_id) and waits and self.due_at > timezone.now()

    @property
    def judges_content(self) -> bool:
        """Whether it rests on what the message says: a rule that rejects looks at no words."""
        return not self.rule or self.standing_id is not None

    @property
    def is_for_later(self) -> bool:
        """Whether it still waits for the time that was chosen, by this host's clock: for pages only."""
        is_waiting = self.state == DecisionState.RECORDED and not self.attempt and self.later_at is not None
        return is_waiting and self.due_at > timezone.now()

    @property
    def can_expire(self) -> bool:
        """Whether its message's expiry stops it: an approval, except while its call runs."""
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
        if self.standing_id:
            return f"{standing_words(self.rule)} (signed by {self.signed_by})"
        return {"expiry": "the expiry rule", "policy": "the policy"}.get(self.rule.partition(" ")[0], "a rule")

    @property
    def suggestion(self) -> str:
        """The text that the reviewer suggested instead, in Markdown; empty where there is none."""
        return str(self.feedback.get("suggested_markdown") or "")

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
        """The outcome as what its giver did with the message: "sent it back"."""
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


class OpenedPartQuerySet(models.QuerySet["OpenedPart"]):
    """Reads of who opened which part."""

    def of(self, message: Message, *, person: int) -> set[str]:
        """Return the parts of this message that the person opened."""
        return set(self.filter(message=message, person=person).values_list("part", flat=True))


class OpenedPart(models.Model):
    """One part of a message that one person opened: a file, the thread as it was then, the links."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="opened_parts")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    part = models.CharField(max_length=100)
    at = models.DateTimeField(db_default=Now())

    objects = OpenedPartQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message", "person", "part"], name="part_once")]

    def __str__(self) -> str:
        return self.part


class Replacement(models.Model):
    """A corrected copy of a held message that a person has sent as a new one; the first is rejected as replaced by it.

    The row with its reference is stored before MultiMail is called. The idempotency key is made of the reference, so
    that however often the call is repeated, it makes one message.
    """

    class State(models.TextChoices):
        # The call is to be made, or to be repeated because its outcome is not known.
        SENDING = "sending"
        # MultiMail has the new message; the first one is to be rejected.
        SENT = "sent"
        DONE = "done"
        # Nothing was made.
        REFUSED = "refused"
        # Not known, and too old to repeat the call.
        UNKNOWN = "unknown"

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="replacements")
    # The version that was edited.
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="+")
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    # Keys of people: who edited this text or a version before it, and who started the first one.
    editors = ArrayField(models.BigIntegerField(), default=list)
    authors = ArrayField(models.BigIntegerField(), default=list)
    to = ArrayField(models.TextField())
    cc = ArrayField(models.TextField(), default=list)
    bcc = ArrayField(models.TextField(), default=list)
    subject = models.TextField(blank=True)
    markdown = models.TextField()
    # What the person wrote to the agent.
    note = models.TextField(blank=True)
    reference = models.CharField(max_length=24, unique=True)
    state = models.CharField(max_length=8, choices=State, default=State.SENDING)
    # MultiMail's id of the new message.
    upstream_id = models.CharField(max_length=200, blank=True)
    # Set before the first call: from then on the new message may exist.
    called_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    # None: nothing is tried by itself any more.
    next_attempt_at = models.DateTimeField(null=True, db_default=Now())
    # Why it was refused, or why the first message is held still.
    problem = models.TextField(blank=True)
    # When an entry on the new message recorded who edited it.
    noted_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = ReplacementQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["message"], condition=Q(state__in=("sending", "sent")), name="one_open_replacement"
            ),
            models.CheckConstraint(
                condition=Q(state__in=("sending", "sent", "done", "refused", "unknown")),
                name="replacement_state_known",
            ),
        ]
        indexes = [
            models.Index(fields=["connection", "upstream_id"], condition=~Q(upstream_id=""), name="replacement_made"),
            # For the sweep, and for people to finish.
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(state__in=("sending", "sent")) | Q(state="done", noted_at=None),
                name="replacement_to_do",
            ),
            models.Index(fields=["created_at"], name="replacement_recent"),
        ]

    def __str__(self) -> str:
        return f"edited by {self.person}"

    @property
    def idempotency_key(self) -> str:
        """The key of every call that sends it."""
        return f"countersign-edit-{self.reference}"


class Claim(models.Model):
    """Who works on a message. It informs others and prevents nobody from deciding."""

    message = models.OneToOneField(Message, on_delete=models.CASCADE, related_name="claim")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="claims")
    claimed_at = models.DateTimeField(db_default=Now())
    # When its holder last had the message on screen; an idle claim expires.
    seen_at = models.DateTimeField(db_default=Now())
    # By somebody else, or in turn; it then lasts until it is decided, released or assigned to somebody else.
    is_assigned = models.BooleanField(default=False, db_default=False)

    objects = ClaimQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.person} has it"

    @property
    def words(self) -> str:
        """How the holder got it, before their name."""
        return "Assigned to" if self.is_assigned else "Claimed by"


class Snooze(models.Model):
    """Hides a message from one person's list for a while; everybody else still sees it."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="snoozes")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="snoozes")
    until = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())

    objects = SnoozeQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message", "person"], name="snooze_once")]
        indexes = [models.Index(fields=["person", "until"], name="snooze_of_person")]

    def __str__(self) -> str:
        return f"until {self.until:%H:%M}"


class Comment(models.Model):
    """A comment to colleagues on a message. It never leaves the desk, and never changes."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="comments")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="comments")
    text = models.TextField()
    mentions = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="mentioned_in", blank=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = CommentQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["message", "created_at"], name="comment_of_message")]

    def __str__(self) -> str:
        return f"{self.person}: {self.text[:40]}"


class Question(models.Model):
    """A mention that awaits the person's answer. Answered ones are deleted."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="questions")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="questions")
    comment = models.ForeignKey(Comment, on_delete=models.CASCADE, related_name="questions")

    objects = QuestionQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["person", "message"], name="question_once")]

    def __str__(self) -> str:
        return f"{self.person} is asked"


class SavedView(models.Model):
    """A named address of the queue: its filters and its order. Everybody can use a shared one."""

    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views")
    name = models.CharField(max_length=60)
    # The queue's query string in canonical form.
    query = models.CharField(max_length=1000)
    shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    objects = SavedViewQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint("person", Lower("name"), name="saved_view_name_once")]
        indexes = [models.Index(fields=["shared"], condition=Q(shared=True), name="saved_view_shared")]

    def __str__(self) -> str:
        return self.name


class RuleWeightQuerySet(models.QuerySet["RuleWeight"]):
    """Reads of the points that admins gave rules."""

    def points_by_rule(self) -> dict[str, int]:
        """Return the points that admins gave rules; a rule that is not among them counts as published."""
        weights = self.values_list("rule", "points")
        return {rule: points for rule, points in weights if points is not None}


class RuleWeight(models.Model):
    """The points that admins give a published risk rule instead of its own; without points, it counts as published."""

    rule = models.CharField(max_length=40, unique=True)
    points = models.PositiveSmallIntegerField(null=True)
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    changed_at = models.DateTimeField(db_default=Now())
    # Up to which message, oldest first, the held ones have been weighed again; None: all of them.
    weighed_to = models.DateTimeField(null=True)
    weighed_to_key = models.BigIntegerField(default=0)

    objects = RuleWeightQuerySet.as_manager()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(points__lte=100), name="rule_weight_points")]

    def __str__(self) -> str:
        return f"{self.rule}: {self.points}"


class UsualTexts(models.Model):
    """The usual reasons, or the saved comments, that admins wrote for a mailbox. Without a row, the built-in ones."""

    class Kind(models.TextChoices):
        REJECT = "reject", "Reasons to reject"
        SEND_BACK = "send_back", "Reasons to request changes"
        COMMENT = "comment", "Saved comments"

    mailbox = models.ForeignKey(Mailbox, on_delete=models.CASCADE, related_name="usual_texts")
    kind = models.CharField(max_length=10, choices=Kind)
    # In their order: {"label": "Wrong price", "words": "The price is not the one of our list."}
    texts = models.JSONField(default=list)
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["mailbox", "kind"], name="usual_texts_once"),
            models.CheckConstraint(condition=Q(kind__in=("reject", "send_back", "comment")), name="usual_texts_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.mailbox_id}"


class OwnWordQuerySet(models.QuerySet["OwnWord"]):
    """Reads of the words that admins look for."""

    def of_connection(self, connection: int) -> Self:
        """Those that count in any mailbox of a connection."""
        return self.filter(Q(mailbox=None) | Q(mailbox__connection=connection))

    def visible_to(self, actor: Actor) -> Self:
        """Those for all mailboxes, and those of mailboxes that the actor may see."""
        return self.filter(Q(mailbox=None) | Q(mailbox__in=Mailbox.objects.visible_to(actor)))

    def as_json(self) -> "models.QuerySet[Any, Any]":
        """Each as one value for a statement that reads other things too, those with the most points first."""
        row = JSONObject(mailbox="mailbox_id", text="text", looks_in="looks_in", points="points")
        return self.order_by("-points", "pk").values_list(row)


class OwnWord(models.Model):
    """A word, phrase or pattern that makes a finding: in one mailbox or, without one, in all of them."""

    mailbox = models.ForeignKey(Mailbox, null=True, blank=True, on_delete=models.CASCADE, related_name="own_words")
    text = models.CharField(max_length=80)
    # How it is compared: two that find the same are one.
    spelling = models.CharField(max_length=500)
    looks_in = ArrayField(models.CharField(max_length=10))
    points = models.PositiveSmallIntegerField()
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    changed_at = models.DateTimeField(db_default=Now())

    objects = OwnWordQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["mailbox", "spelling"], nulls_distinct=False, name="own_word_once"),
            models.CheckConstraint(condition=Q(points__gte=1, points__lte=100), name="own_word_points"),
        ]

    def __str__(self) -> str:
        return self.text
