"""The tables of standing approvals: what two admins signed, and the messages that it
met.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Count, Exists, F, Q, QuerySet
from django.db.models.functions import Now

from common.actors import Actor
from mirror.models import Mailbox, Message
from people.models import OrganisationSettings

# One of so many messages goes to a person as a sample; the person is not told that it
# is one.
SAMPLE_OF = 10


def standing_words(rule: str) -> str:
    """Return what `StandingApproval.rule` names, for the middle of a sentence; empty
    for another rule.
    """
    kind, _, rest = rule.partition(" ")
    number, _, version = rest.partition(" version ")
    if kind != "standing" or not version:
        return ""
    return f"standing approval {number}, version {version}"


class StandingApprovalQuerySet(models.QuerySet["StandingApproval"]):
    """Reads of standing approvals; the database's clock says whether one is over."""

    def active(self) -> Self:
        """Those that have not ended."""
        return self.filter(state="active")

    def in_force(self) -> Self:
        """Those that may approve now: not ended, before their date, and switched on for
        the organisation.
        """
        is_on = OrganisationSettings.objects.filter(standing_since__isnull=False)
        return self.active().filter(Exists(is_on), ends_at__gt=Now())

    def ended(self) -> Self:
        """Those that have ended, the latest first."""
        return self.filter(state="ended").order_by("-ended_at", "-pk")

    def like(self, *, mailbox: int, key: str, shape: str) -> Self:
        """Those for messages of this mailbox and API key whose text has this shape."""
        return self.filter(mailbox=mailbox, sent_by_key=key, shape=shape)

    def visible_to(self, actor: Actor) -> Self:
        """Those of mailboxes that the actor has a role for."""
        if actor.sees_all():
            return self
        return self.filter(mailbox__in=Mailbox.objects.visible_to(actor))

    def for_page(self) -> Self:
        """With the names that pages show: those that have not ended first, then the
        newest.
        """
        named = self.select_related(
            "mailbox__connection", "asked_by", "accepted_by", "ended_by"
        )
        return named.order_by("state", "-number", "-version")


class StandingApproval(models.Model):
    """One version of a standing approval, as two admins signed it. A trigger of the
    database refuses changes of what they signed.
    """

    class State(models.TextChoices):
        ACTIVE = "active", "Active"
        ENDED = "ended", "Ended"

    # What people call it; a changed one is a new version, which two admins sign again.
    number = models.PositiveIntegerField()
    version = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=6, choices=State, default=State.ACTIVE)
    mailbox = models.ForeignKey(
        Mailbox, on_delete=models.PROTECT, related_name="standing_approvals"
    )
    # Copied from the scope, to find the standing approvals that a message could fit.
    sent_by_key = models.CharField(max_length=200)
    shape = models.CharField(max_length=32)
    # As `StandingScope.as_json` writes it, and as a sentence with the names at the time
    # of signing.
    scope = models.JSONField()
    sentence = models.TextField()
    # The name of the API key and the primary keys of its owners, as signed: another name
    # or owner ends the standing approval.
    key_name = models.CharField(max_length=200)
    key_owners = models.JSONField(default=list)
    # How long anybody can stop a message before it is sent.
    delay = models.DurationField()
    # How many messages it approves in an hour at most.
    cap_an_hour = models.PositiveIntegerField()
    # It ends where more of them bounce.
    bounce_percent = models.PositiveSmallIntegerField()
    ends_at = models.DateTimeField()
    # The record as it was shown to whoever signed:
    # `approvals.standing.record.Evidence`.
    evidence = models.JSONField(default=dict)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    accepted_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)
    # None: it ended by itself.
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    ended_because = models.TextField()
    # How many messages have fitted it, and which of the current ten is the sample.
    met = models.PositiveIntegerField(default=0)
    sample_at = models.PositiveSmallIntegerField(default=0)

    objects = StandingApprovalQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["number", "version"], name="standing_version_once"
            ),
            models.UniqueConstraint(
                fields=["number"],
                condition=Q(state="active"),
                name="standing_one_active",
            ),
            models.CheckConstraint(
                condition=~Q(asked_by=F("accepted_by")), name="standing_two_signatures"
            ),
            models.CheckConstraint(
                condition=Q(state__in=("active", "ended")), name="standing_state_known"
            ),
            models.CheckConstraint(
                condition=Q(cap_an_hour__gte=1, delay__gte=timedelta(minutes=1)),
                name="standing_bounded",
            ),
        ]
        indexes = [
            models.Index(
                fields=["shape", "mailbox"],
                condition=Q(state="active"),
                name="standing_active",
            )
        ]

    def __str__(self) -> str:
        return f"standing approval {self.number}"

    @property
    def rule(self) -> str:
        """How decisions and the ledger name it."""
        return f"standing {self.number} version {self.version}"

    @property
    def signatories(self) -> str:
        """The names of the two admins who signed it."""
        return f"{self.asked_by} and {self.accepted_by}"

    def is_for(self, actor: Actor) -> bool:
        """Whether the actor may sign and end it: an admin of its mailbox."""
        return self.mailbox.is_administered_by(actor)


class StandingUseQuerySet(models.QuerySet["StandingUse"]):
    """Reads of the messages that standing approvals met."""

    def approved_within(self, span: timedelta) -> Self:
        """Those that were approved within this span until now."""
        return self.filter(kind="approved", at__gt=Now() - span)

    def numbers(
        self, standings: Iterable[int]
    ) -> QuerySet[Any, tuple[int, str, str, str, int]]:
        """Return how many there are of each: standing approval, kind, outcome and
        reason.
        """
        of_these = self.filter(standing__in=list(standings)).order_by()
        counted = of_these.values("standing", "kind", "outcome", "why").annotate(
            number=Count("pk")
        )
        return counted.values_list("standing", "kind", "outcome", "why", "number")


class StandingUse(models.Model):
    """One message that fits a standing approval's key, mailbox and text, and what
    became of it: once a message.
    """

    class Kind(models.TextChoices):
        APPROVED = "approved", "Approved"
        # Went to a person who was not told, so that the standing approval is checked.
        SAMPLED = "sampled", "Sample"
        # The cap an hour was reached.
        OVER_CAP = "over_cap", "Over the cap"
        # Something about it is not covered, as `why` says.
        LEFT = "left", "Left to a person"

    class Outcome(models.TextChoices):
        AGREED = "agreed", "Approved by the person too"
        DISAGREED = "disagreed", "Not approved by the person"

    standing = models.ForeignKey(
        StandingApproval, on_delete=models.PROTECT, related_name="uses"
    )
    message = models.OneToOneField(
        Message, on_delete=models.CASCADE, related_name="standing_use"
    )
    kind = models.CharField(max_length=8, choices=Kind)
    why = models.TextField()
    at = models.DateTimeField(db_default=Now())
    # What a person decided about it, where one did.
    outcome = models.CharField(max_length=9, choices=Outcome)
    decided_at = models.DateTimeField(null=True)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
    )

    objects = StandingUseQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["standing", "kind", "at"], name="standing_used"),
            # Samples that nobody has decided yet.
            models.Index(
                fields=["at"],
                condition=Q(kind="sampled", outcome=""),
                name="standing_sample",
            ),
        ]
