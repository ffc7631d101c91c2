"""The tables of allowlists and their entries; of gates, whether each has the recipients
that the policy allows. What a list does
is said by the rules and passes of the policy that name it. Also the base of tables whose
rows are for everything, one connection or one mailbox.
"""

from datetime import datetime, timedelta
from typing import ClassVar, Self, TypeVar

from django.conf import settings
from django.db import models
from django.db.models import Count, F, Q
from django.db.models.functions import Lower, Now
from django.urls import reverse
from django.utils import timezone

from common.actors import Actor, Role
from common.mail_addresses import clean_address, patterns_for
from mirror.models import Connection, Mailbox
from mirror.models.connections import is_rested

# Longer than the two calls of one attempt may take together, so that a row is pushed
# by one worker at a time. Two would do no harm: the gate takes one of two lists that
# were written on the basis of the same version.
PUSH_TIME = timedelta(seconds=90)


Row = TypeVar("Row", bound="Scoped")


class ScopedQuerySet(models.QuerySet[Row]):
    """Reads of such rows."""

    def visible_to(self, actor: Actor) -> Self:
        """Those for everything, and those of connections and mailboxes that the actor
        sees. Whoever has no role sees none.
        """
        if actor.sees_all():
            return self
        if not actor.scopes:
            return self.none()
        connections = Connection.objects.visible_to(actor)
        mailboxes = Mailbox.objects.visible_to(actor)
        return self.filter(
            Q(connection=None, mailbox=None)
            | Q(connection__in=connections)
            | Q(mailbox__in=mailboxes)
        )


class Scoped(models.Model):
    """A row that is for one connection, or one mailbox, or with neither for everything."""

    connection = models.ForeignKey(
        Connection, null=True, on_delete=models.PROTECT, related_name="+"
    )
    mailbox = models.ForeignKey(
        Mailbox, null=True, on_delete=models.PROTECT, related_name="+"
    )

    # What it is for without either, in words.
    whole: ClassVar[str] = "everything"

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=Q(connection=None) | Q(mailbox=None),
                name="%(class)s_one_scope",
            )
        ]

    @property
    def scope(self) -> str:
        """What it is for, in words."""
        return str(self.mailbox or self.connection or self.whole)

    @property
    def owning_connection(self) -> int | None:
        """The key of the connection that it is for, or whose mailbox it is for."""
        return self.mailbox.connection_id if self.mailbox else self.connection_id

    def is_within(self, actor: Actor, role: Role) -> bool:
        """Whether the actor has this role for everything that it is for."""
        return actor.is_a(
            role, connection=self.owning_connection, mailbox=self.mailbox_id
        )


class AllowlistQuerySet(ScopedQuerySet["Allowlist"]):
    """Reads of the allowlists."""

    def at_work(self) -> Self:
        """Those of connections that were not removed, with what they are for."""
        removed = Q(connection__removed_at__isnull=False) | Q(
            mailbox__connection__removed_at__isnull=False
        )
        return self.exclude(removed).select_related("connection", "mailbox__connection")

    def for_overview(self, at: datetime) -> Self:
        """By name, each with the number of its live entries (`live`)."""
        live = Q(entries__expires_at=None) | Q(entries__expires_at__gt=at)
        counted = self.at_work().annotate(live=Count("entries", filter=live))
        return counted.select_related("changed_by").order_by(Lower("name"))


class Allowlist(Scoped):
    """A named set of addresses and domains. It is for all mail, one connection or one
    mailbox: whoever has a role there sees it, and admins there change it.

    Each change raises `version`.
    """

    name = models.CharField(max_length=60)
    version = models.PositiveIntegerField(default=1)
    changed_at = models.DateTimeField(db_default=Now())
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    whole = "all mail"
    objects = AllowlistQuerySet.as_manager()

    class Meta(Scoped.Meta):
        constraints = [
            *Scoped.Meta.constraints,
            models.UniqueConstraint(Lower("name"), name="allowlist_name_once"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def url(self) -> str:
        """The address of its page."""
        return reverse("allowlist", args=[self.pk])


class AllowEntryQuerySet(models.QuerySet["AllowEntry"]):
    """Reads of the entries of allowlists."""

    def live(self, at: datetime) -> Self:
        """Those that have not expired at this time."""
        return self.exclude(expires_at__lte=at)

    def found_by(self, text: str) -> Self:
        """Those that let this address through, or whose pattern or note contains this
        text. An empty text finds all.
        """
        found = Q(pattern__icontains=text) | Q(note__icontains=text)
        try:
            found |= Q(pattern__in=patterns_for(clean_address(text)))
        except ValueError:
            pass
        return self.filter(found)


class AllowEntry(models.Model):
    """One entry of a list: an address or domain, in the form that
    `common.mail_addresses.read_pattern` returns.
    """

    allowlist = models.ForeignKey(
        Allowlist, on_delete=models.CASCADE, related_name="entries"
    )
    pattern = models.CharField(max_length=254)
    note = models.CharField(max_length=300)
    expires_at = models.DateTimeField(null=True)
    added_at = models.DateTimeField(db_default=Now())
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    objects = AllowEntryQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["allowlist", "pattern"], name="allow_entry_once"
            )
        ]
        indexes = [
            # For the ruling: finds the lists that name an address.
            models.Index(fields=["pattern"], name="allow_entry_pattern")
        ]

    @property
    def is_live(self) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or self.expires_at > timezone.now()


class GateListQuerySet(models.QuerySet["GateList"]):
    """Queries for the lists at gates, and the claim of one by a worker. Due times use
    the database's clock.
    """

    def behind(self) -> Self:
        """Those whose gate may lack a change. Uses the index gate_list_to_push."""
        return self.filter(pushed__lt=F("wanted"))

    def to_push(self) -> Self:
        """Those to push to their gate now. Connections without an admin key are left
        out: there only the desk refuses recipients.
        """
        pushable = (
            self.behind()
            .filter(
                next_attempt_at__lte=Now(),
                mailbox__is_active=True,
                mailbox__connection__removed_at=None,
                mailbox__connection__paused_at=None,
            )
            .filter(is_rested("mailbox__connection__"))
        )
        return pushable.exclude(mailbox__connection__admin_key="").order_by(
            "next_attempt_at"
        )

    def claim(self, pk: int) -> "GateList | None":
        """Claim one row for one attempt, and return it; None if it is not due, or
        another worker has claimed it.
        """
        is_claimed = (
            self.to_push()
            .filter(pk=pk)
            .update(next_attempt_at=Now() + PUSH_TIME, attempts=F("attempts") + 1)
        )
        rows = self.select_related("mailbox__connection")
        return rows.get(pk=pk) if is_claimed else None

    def for_page(self, actor: Actor) -> Self:
        """Those of mailboxes that the actor sees, with their connections, by mailbox."""
        named = self.select_related("mailbox__connection").filter(
            mailbox__in=Mailbox.objects.visible_to(actor),
            mailbox__connection__removed_at=None,
        )
        return named.order_by("mailbox__address", "mailbox")


class GateList(models.Model):
    """Whether the gate of one mailbox has the recipients that the policy allows.

    Each change of the policy or of a list raises `wanted`. After a push, `pushed` is
    the value of `wanted` that the gate has; if it is less, the gate may lack a change.
    """

    mailbox = models.OneToOneField(
        Mailbox, on_delete=models.CASCADE, related_name="gate_list"
    )
    wanted = models.PositiveIntegerField(default=1)
    pushed = models.PositiveIntegerField(default=0)
    # The version number that the gate gave the list it has.
    gate_version = models.PositiveIntegerField(default=0)
    # What was put there last, as a hash, also if no answer came.
    put = models.CharField(max_length=64)
    pushed_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    last_error = models.TextField()

    objects = GateListQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(pushed__lt=F("wanted")),
                name="gate_list_to_push",
            )
        ]

    @property
    def is_behind(self) -> bool:
        """Whether the gate may lack a change."""
        return self.pushed < self.wanted
