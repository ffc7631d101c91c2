"""The mirror of what MultiMail holds. Rules live in the commands, not here."""

from typing import TYPE_CHECKING

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from common.fingerprint import short_fingerprint
from common.identifiers import uuid7
from common.words import BY, CONTENT, TO
from mirror.models.connections import Connection, Mailbox
from mirror.querysets import VOID, MessageManager
from mirror.querysets.terms import CALM, ENDS, LATE
from mirror.recording import NAMED
from mirror.states import DecisionState, MessageState

if TYPE_CHECKING:
    from approvals.models import Decision

# Its recipients have been written to. A constant of this file: indexes are made from it.
_LEFT = ("approved", "sent", "delivered")


class Message(models.Model):
    """A message as MultiMail has it. `state` is derived from events; `upstream_status` is stored unchanged."""

    public_id = models.UUIDField(unique=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="messages")
    mailbox = models.ForeignKey(Mailbox, null=True, on_delete=models.SET_NULL, related_name="messages")
    upstream_id = models.CharField(max_length=200)
    direction = models.CharField(max_length=10, default="outbound")
    thread_id = models.CharField(max_length=200, blank=True)
    upstream_status = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=20, choices=MessageState)
    sandbox = models.BooleanField(default=False)
    # A planted message: it exists at this desk alone (docs/policy.md, "Practice messages"). MultiMail is never asked
    # about it, and a trigger keeps decisions off it.
    is_practice = models.BooleanField(default=False, db_default=False, editable=False)
    sender = models.CharField(max_length=1000, blank=True)
    recipients = models.JSONField(default=list)
    subject = models.TextField(blank=True)
    trigger = models.JSONField(default=dict)
    sent_by_key = models.CharField(max_length=200, blank=True)
    sent_by_key_name = models.CharField(max_length=200, blank=True)
    trace = models.CharField(max_length=64, blank=True)
    held_at = models.DateTimeField()
    hydrated_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    # When its approaching expiry was announced: once.
    expiry_told_at = models.DateTimeField(null=True, blank=True)
    # The expiry that our gateway was last told.
    gate_expires_at = models.DateTimeField(null=True, blank=True)
    # When the review plan asks next what is due for it; None: never. The plan's targets, and since when it is late.
    watch_at = models.DateTimeField(null=True, blank=True, db_default=Now())
    look_by = models.DateTimeField(null=True, blank=True)
    decide_by = models.DateTimeField(null=True, blank=True)
    late_since = models.DateTimeField(null=True, blank=True)
    # Until when a person extended its deadlines.
    extended_to = models.DateTimeField(null=True, blank=True)
    # When MultiMail was last seen to hold it; an older read that lacks it must not close it.
    seen_at = models.DateTimeField(db_default=Now())
    # When the first complete read began that lacked it, where one read is no proof.
    missing_since = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(db_default=Now())
    # When MultiMail was last asked what became of it, because its next event is late.
    asked_at = models.DateTimeField(null=True, blank=True)
    # Fetches of its content that began and did not end, so that content that kills its worker is given up.
    fetch_tries = models.PositiveSmallIntegerField(default=0)
    # What a webhook last reported of its end, until a read confirms or refutes that; mostly empty.
    reported = models.CharField(max_length=20, blank=True, default="", db_default="")
    revision = models.ForeignKey("Revision", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    upstream_reason = models.TextField(blank=True)
    upstream_decided_by = models.CharField(max_length=200, blank=True)
    # The message whose request for changes this one answers; and which try it is.
    answers = models.ForeignKey(
        "Message", null=True, blank=True, on_delete=models.SET_NULL, related_name="next_versions"
    )
    try_number = models.PositiveSmallIntegerField(default=1)
    # What the queue sorts and filters by, computed from the current revision; used for nothing else.
    risk = models.PositiveIntegerField(default=0)
    risk_level = models.CharField(max_length=6, blank=True)
    rules = ArrayField(models.CharField(max_length=40), default=list)
    # All recipients, and the sender of received mail: normalised, without names.
    addresses = ArrayField(models.TextField(), default=list)
    # Each recipient in the form that allowlists compare, for rehearsals over many; empty until that was worked out.
    written_to = ArrayField(models.TextField(), null=True)
    outside = models.PositiveIntegerField(default=0)
    has_attachments = models.BooleanField(default=False)
    # Who or what started it, in one form: "discord:dana", "key:Invoices", or empty.
    started_by = models.CharField(max_length=200, blank=True)
    run_id = models.CharField(max_length=200, blank=True)
    # The same for messages that differ in amounts, names and addresses only.
    shape = models.CharField(max_length=32, blank=True)
    # Similarity bands: messages that differ in a few words share one of these four.
    bands = ArrayField(models.IntegerField(), default=list)
    # Equal for messages of one shape with the same numbers.
    amounts = models.CharField(max_length=32, blank=True)
    # What rules ask beside the columns, from the current revision: `policy.rules.facts.stored_facts` says what. None:
    # not worked out yet, so nothing of it is known.
    policy_facts = models.JSONField(null=True)
    # The version of the policy that last rejected it or set its expiry, or could have; 0: none since it was stored.
    policy_applied = models.BigIntegerField(default=0, db_default=0)
    # The flood that it came in, past a cap: such a message has no card of its own.
    brake = models.ForeignKey(
        "Brake", null=True, blank=True, on_delete=models.SET_NULL, related_name="messages", db_index=False
    )
    # Whether it stands apart from the queue, until somebody puts it back.
    is_apart = models.BooleanField(default=False, db_default=False)
    # When the entries of allowlists that name its recipients were counted for it.
    hits_counted_at = models.DateTimeField(null=True, blank=True)
    # When its position in an order last changed, written by a trigger; None: never.
    ranked_at = models.DateTimeField(null=True, blank=True)
    search = SearchVectorField(null=True)

    objects = MessageManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "upstream_id"], name="message_once"),
            models.CheckConstraint(condition=Q(state__in=MessageState.values), name="message_state_known"),
            # A practice message waits, or has ended: it is never approved or sent.
            models.CheckConstraint(
                condition=Q(is_practice=False) | Q(state__in=("held", "cancelled")), name="message_practice_stays"
            ),
        ]
        indexes = [
            # The queue, oldest first: covers only held messages.
            models.Index(fields=["held_at", "id"], condition=Q(state="held"), name="message_held"),
            # History, newest first.
            models.Index(F("changed_at").desc(), F("id").desc(), name="message_changed"),
            models.Index(
                F("changed_at").desc(),
                F("id").desc(),
                condition=Q(state__in=("failed", "bounced")),
                name="message_failed",
            ),
            # Messages whose content is still to be fetched: few.
            models.Index(fields=["held_at"], condition=Q(state="held", hydrated_at=None), name="message_to_hydrate"),
            # Whom the active version of the policy was not asked about: few.
            models.Index(fields=["policy_applied"], condition=Q(state="held"), name="message_policy"),
            # Messages given up after several tries: hardly any.
            models.Index(fields=["held_at"], condition=Q(state="held", fetch_tries__gte=3), name="message_unfetchable"),
            # What webhooks reported and no read has confirmed yet: few.
            models.Index(fields=["connection"], condition=~Q(reported=""), name="message_reported"),
            # Expired messages, and those whose next event is late.
            models.Index(fields=["expires_at"], condition=Q(state="held"), name="message_expiry"),
            # What the review plan has to look at, and what is late.
            models.Index(fields=["watch_at"], condition=Q(state="held"), name="message_watch"),
            models.Index(
                fields=["late_since"], condition=Q(state="held", late_since__isnull=False), name="message_late"
            ),
            # Expiries that our gateway does not know yet.
            models.Index(
                fields=["expires_at"],
                condition=Q(state="held", expires_at__isnull=False)
                & (Q(gate_expires_at=None) | ~Q(gate_expires_at=F("expires_at"))),
                name="message_expiry_to_tell",
            ),
            models.Index(
                fields=["changed_at"],
                condition=Q(state__in=("approved", "scheduled_approved", "gone")),
                name="message_on_its_way",
            ),
            # Recent recipients, and rejected messages with the same text.
            models.Index("connection", F("changed_at").desc(), condition=Q(state__in=_LEFT), name="message_left"),
            models.Index(
                "connection", "shape", F("changed_at").desc(), condition=Q(state="rejected"), name="message_rejected"
            ),
            # The queue's other orders, and its narrower views.
            models.Index(CALM, "held_at", "id", condition=Q(state="held"), name="message_by_risk"),
            models.Index(ENDS, "held_at", "id", condition=Q(state="held"), name="message_by_end"),
            models.Index(LATE, "held_at", "id", condition=Q(state="held"), name="message_by_lateness"),
            models.Index("mailbox", LATE, "held_at", "id", condition=Q(state="held"), name="message_held_in"),
            models.Index("started_by", LATE, "held_at", "id", condition=Q(state="held"), name="message_held_by"),
            models.Index("risk_level", LATE, "held_at", "id", condition=Q(state="held"), name="message_held_at_risk"),
            models.Index(
                *(LATE, "held_at", "id"),
                condition=Q(state="held", has_attachments=True),
                name="message_held_with_files",
            ),
            # The first of each that is alike, and how many there are.
            models.Index(fields=["shape", "risk", "held_at", "id"], condition=Q(state="held"), name="message_alike"),
            # What a flood set apart: mostly none.
            models.Index(
                fields=["brake", "held_at", "id"], condition=Q(state="held", is_apart=True), name="message_apart"
            ),
            models.Index(fields=["run_id"], condition=~Q(run_id=""), name="message_run"),
            models.Index(fields=["ranked_at"], condition=Q(state="held"), name="message_ranked"),
            # Whose hits are still to be counted: mostly none.
            models.Index(fields=["id"], condition=Q(hits_counted_at=None), name="message_to_count"),
            models.Index(fields=["thread_id"], condition=~Q(thread_id=""), name="message_thread"),
            GinIndex(fields=["search"], name="message_search"),
            GinIndex(fields=["addresses"], name="message_addresses"),
            GinIndex(fields=["rules"], name="message_rules"),
            GinIndex(fields=["bands"], condition=Q(state="rejected"), name="message_rejected_bands"),
            # Links in cards and in MultiMail's pages name only the upstream id.
            models.Index(fields=["upstream_id"], name="message_upstream"),
        ]

    def __str__(self) -> str:
        return self.subject or ("(subject not known)" if self.is_unnamed else "(no subject)")

    def ledger_words(self) -> list[tuple[str, str]]:
        """Return the search words of ledger entries about this message, with the labels of `common.words`."""
        origin = [(BY, value) for value in self.origin.values()]
        return [(CONTENT, self.subject), *((TO, address) for address in self.addresses[:50]), *origin]

    @property
    def origin(self) -> dict[str, str]:
        """What its sender says of who or what started it: texts and numbers by their common names."""
        said = {name: self.trigger.get(name) for name in NAMED}
        return {
            name: str(value)[:500]
            for name, value in said.items()
            if isinstance(value, str | int) and not isinstance(value, bool)
        }

    @property
    def is_unnamed(self) -> bool:
        """Whether neither a webhook nor a read has given its subject yet."""
        return self.hydrated_at is None and not self.subject

    @property
    def our_decisions(self) -> "list[Decision]":
        """Our decisions, the newest first: those that `for_list` and `for_rows` read with the message, or read now."""
        known: list[Decision] | None = self.__dict__.get("newest_decisions")
        return sorted(self.decisions.all(), key=lambda one: -one.pk) if known is None else known

    @property
    def latest_decision(self) -> "Decision | None":
        """Our newest decision that may have an effect.

        One without effect must not hide an older one that was withdrawn and may still take effect.
        """
        decisions = self.our_decisions
        if not decisions or decisions[0].state not in VOID:
            return decisions[0] if decisions else None
        return next((one for one in decisions if one.state == DecisionState.WITHDRAWN), decisions[0])


class Revision(models.Model):
    """The content at one time. It never changes; verdicts and the ledger point to it."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    content = models.JSONField()
    coverage = models.JSONField()
    fingerprint = models.CharField(max_length=64)
    findings = models.JSONField(default=list)
    # The text of its HTML without markup, whether it shows or not.
    html_text = models.TextField(blank=True, default="", db_default="")
    # The parser was killed over it twice: only its source is shown, and it is not parsed again by itself.
    is_unsafe = models.BooleanField(default=False, db_default=False)
    # In how many ways our gateway simplified its HTML when it was handed in.
    simplified = models.PositiveSmallIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message", "number"], name="revision_once")]

    def __str__(self) -> str:
        return f"version {self.number} {self.short_fingerprint}"

    @property
    def short_fingerprint(self) -> str:
        """The shortened fingerprint for display."""
        return short_fingerprint(self.fingerprint)
