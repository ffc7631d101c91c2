"""The tables of allowlists and their entries. What a list does is said by the rules and
passes of the policy that name it.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Count, Q
from django.db.models.functions import Lower, Now
from django.urls import reverse
from django.utils import timezone

from common.actors import Actor, Role
from common.mail_addresses import clean_address, patterns_for
from mirror.models import Connection, Mailbox


class AllowlistQuerySet(models.QuerySet["Allowlist"]):
    """Reads of the allowlists."""

    def visible_to(self, actor: Actor) -> Self:
        """The lists for all mail, and those of connections and mailboxes that the actor
        has a role for.
        """
        if actor.sees_all():
            return self
        for_all = Q(connection=None, mailbox=None) if actor.scopes else Q(pk=None)
        connections = Connection.objects.visible_to(actor)
        mailboxes = Mailbox.objects.visible_to(actor)
        return self.filter(
            for_all | Q(connection__in=connections) | Q(mailbox__in=mailboxes)
        )

    def at_work(self) -> Self:
        """Those of connections that were not removed, with what they are for."""
        removed = Q(connection__removed_at__isnull=False) | Q(
            mailbox__connection__removed_at__isnull=False
        )
        return self.exclude(removed).select_related("connection", "mailbox__connection")

    def for_overview(self, at: datetime) -> Self:
        """By name, each with the number of its live entries (`live`)."""
        live = Q(entries__removed_at=None) & (
            Q(entries__expires_at=None) | Q(entries__expires_at__gt=at)
        )
        counted = self.at_work().annotate(live=Count("entries", filter=live))
        return counted.select_related("changed_by").order_by(Lower("name"))


class Allowlist(models.Model):
    """A named set of addresses and domains. It is for all mail, one connection or one
    mailbox: whoever has a role there sees it, and admins there change it.

    Each change raises `version`. A change that was made on the basis of an older
    version is refused.
    """

    name = models.CharField(max_length=60)
    # One of these at most; if both are None, the list is for all mail.
    connection = models.ForeignKey(Connection, null=True, on_delete=models.CASCADE)
    mailbox = models.ForeignKey(Mailbox, null=True, on_delete=models.CASCADE)
    version = models.PositiveIntegerField(default=1)
    changed_at = models.DateTimeField(db_default=Now())
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    objects = AllowlistQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("name"), name="allowlist_name_once"),
            models.CheckConstraint(
                condition=Q(connection=None) | Q(mailbox=None),
                name="allowlist_one_scope",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def scope(self) -> str:
        """The mailbox or connection that it is for, or "all mail"."""
        return str(self.mailbox or self.connection or "all mail")

    def is_administered_by(self, actor: Actor) -> bool:
        """Whether the actor may change it: an admin of everything that it is for."""
        return actor.is_a(
            Role.ADMIN, connection=self.owning_connection, mailbox=self.mailbox_id
        )

    @property
    def owning_connection(self) -> int | None:
        """The key of the connection that it is for, or whose mailbox it is for."""
        return self.mailbox.connection_id if self.mailbox else self.connection_id

    @property
    def url(self) -> str:
        """The address of its page."""
        return reverse("allowlist", args=[self.pk])


class AllowEntryQuerySet(models.QuerySet["AllowEntry"]):
    """Reads of the entries of allowlists."""

    def not_removed(self) -> Self:
        """Those that were not removed, expired or not."""
        return self.filter(removed_at=None)

    def live(self, at: datetime) -> Self:
        """Those neither removed nor expired at this time."""
        return self.not_removed().exclude(expires_at__lte=at)

    def found_by(self, text: str) -> Self:
        """Those that let this address through, or whose pattern, note or owner contains
        this text. An empty text finds all.
        """
        if not text:
            return self
        words = Q(pattern__icontains=text) | Q(note__icontains=text)
        words |= Q(owner__name__icontains=text) | Q(owner__email__icontains=text)
        try:
            return self.filter(Q(pattern__in=patterns_for(clean_address(text))) | words)
        except ValueError:
            return self.filter(words)

    def for_page(self, after: str) -> Self:
        """In the order of their patterns, beginning after the pattern `after`, with the
        people they name. Uses the index allow_entry_once.
        """
        named = self.select_related("owner").order_by("pattern")
        return named.filter(pattern__gt=after) if after else named

    def for_export(self) -> Iterator[tuple[str, str, str, datetime | None]]:
        """Yield (pattern, note, owner's address, end) of each, in chunks."""
        fields = ("pattern", "note", "owner__email", "expires_at")
        return self.order_by("pattern").values_list(*fields).iterator(chunk_size=2000)


class AllowEntry(models.Model):
    """One entry of a list: an address or domain, in the form that
    `common.mail_addresses.read_pattern` returns. A row never changes: it is removed, and
    another one takes its place, so that all rows of a pattern are its history.
    """

    allowlist = models.ForeignKey(
        Allowlist, on_delete=models.CASCADE, related_name="entries"
    )
    pattern = models.CharField(max_length=254)
    note = models.CharField(max_length=300)
    # The person who is responsible for it.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    expires_at = models.DateTimeField(null=True)
    added_at = models.DateTimeField(db_default=Now())
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    removed_at = models.DateTimeField(null=True)
    removed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    objects = AllowEntryQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["allowlist", "pattern"],
                condition=Q(removed_at=None),
                name="allow_entry_once",
            )
        ]
        indexes = [
            # For the ruling: finds the lists that name an address.
            models.Index(
                fields=["pattern"],
                condition=Q(removed_at=None),
                name="allow_entry_pattern",
            )
        ]

    @property
    def is_live(self) -> bool:
        """Whether it is neither removed nor expired."""
        return self.removed_at is None and (
            self.expires_at is None or self.expires_at > timezone.now()
        )
