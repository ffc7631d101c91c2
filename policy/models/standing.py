"""The tables of standing approvals: what two admins signed to have approved without a
person, and which messages each standing approval was applied to.
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

# One of this many messages goes to a person as a sample. The person is not told that it
# is a sample.
SAMPLE_OF = 10


def standing_words(rule: str) -> str:
    """Return what `StandingApproval.rule` wrote in words: "standing approval 3, version
    2"; empty for any other rule.
    """
    kind, _, rest = rule.partition(" ")
    number, _, version = rest.partition(" version ")
    if kind != "standing" or not version:
        return ""
    return f"standing approval {number}, version {version}"


class StandingApprovalQuerySet(models.QuerySet["StandingApproval"]):
    """Queries for standing approvals. Whether one has ended is by the database's clock."""

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
        """With the names that pages show: active ones first, then by number."""
        named = self.select_related(
            "mailbox__connection", "asked_by", "accepted_by", "ended_by"
        )
        return named.order_by("state", "-number", "-version")


class StandingApproval(models.Model):
    """One version of a standing approval, as two admins signed it. A database trigger
    refuses changes to what they signed.
    """

    class State(models.TextChoices):
        ACTIVE = "active", "Active"
        ENDED = "ended", "Ended"

    # The number by which people call it stays; a change makes a new version, which two
    # admins sign again.
    number = models.PositiveIntegerField()
    version = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=6, choices=State, default=State.ACTIVE)
    mailbox = models.ForeignKey(
        Mailbox, on_delete=models.PROTECT, related_name="standing_approvals"
    )
    # Copied from the scope, to find the standing approvals for a message by an index.
    sent_by_key = models.CharField(max_length=200)
    shape = models.CharField(max_length=32)
    # What `StandingScope.as_json` wrote; and as a sentence, with the names at the time
    # of signing.
    scope = models.JSONField()
    sentence = models.TextField()
    # The name of the API key and the primary keys of its owners, as signed: another name
    # or owner ends the standing approval.
    key_name = models.CharField(max_length=200)
    key_owners = models.JSONField(default=list)
    # How long an approved message waits, so that anybody can still stop it.
    delay = models.DurationField()
    # How many messages it approves in an hour at most.
    cap_an_hour = models.PositiveIntegerField()
    # The standing approval ends if more than this share of its messages bounces.
    bounce_percent = models.PositiveSmallIntegerField()
    ends_at = models.DateTimeField()
    # How people decided such messages before, as it was shown to the two admins
    # (`approvals.standing.record.Evidence`).
    evidence = models.JSONField(default=dict)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    accepted_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)
    # None if it ended by itself.
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    ended_because = models.TextField()
    # How many messages have fitted it; and which of the current SAMPLE_OF is the sample.
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
        """The text by which decisions and the ledger refer to it."""
        return f"standing {self.number} version {self.version}"

    @property
    def signatories(self) -> str:
        """The names of the two admins who signed it."""
        return f"{self.asked_by} and {self.accepted_by}"

    def is_for(self, actor: Actor) -> bool:
        """Whether the actor is an admin of its mailbox, who may sign and end it."""
        return self.mailbox.is_administered_by(actor)


class StandingUseQuerySet(models.QuerySet["StandingUse"]):
    """Queries for the messages that standing approvals were applied to."""

    def approved_by(self, standing: StandingApproval, *, within: timedelta) -> Self:
        """Those that it, in any version, approved within this time before now."""
        approved = self.filter(standing__number=standing.number, kind="approved")
        return approved.filter(at__gt=Now() - within)

    def numbers(
        self, standings: Iterable[int]
    ) -> QuerySet[Any, tuple[int, str, str, str, int]]:
        """Return rows of standing approval, kind, outcome, reason (`why`), and the
        number of messages with these.
        """
        of_these = self.filter(standing__in=list(standings)).order_by()
        counted = of_these.values("standing", "kind", "outcome", "why").annotate(
            number=Count("pk")
        )
        return counted.values_list("standing", "kind", "outcome", "why", "number")


class StandingUse(models.Model):
    """One message that has a standing approval's API key, mailbox and text, and what
    was done with it. There is one row per message.
    """

    class Kind(models.TextChoices):
        APPROVED = "approved", "Approved"
        # Went to a person, who was not told that it is a sample: it shows whether
        # people would still approve such messages.
        SAMPLED = "sampled", "Sample"
        # The most messages per hour were approved already.
        OVER_CAP = "over_cap", "Over the cap"
        # Is not within the scope, as `why` says.
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
    # What a person decided, if the message went to a person.
    outcome = models.CharField(max_length=9, choices=Outcome)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
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
