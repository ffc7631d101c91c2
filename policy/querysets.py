"""Every read of allowlists and the kill switch."""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from django.apps import apps
from django.db import connection as database
from django.db import models
from django.db.models import Count, F, Q, Sum
from django.db.models.functions import Coalesce, Now

from common.actors import Actor
from common.mail_addresses import clean_address
from common.patterns import patterns_for

if TYPE_CHECKING:
    # The types of the querysets.
    from policy.models import (  # noqa: F401
        AllowChange,
        AllowEntry,
        Allowlist,
        GateList,
        GateRefusal,
        KillSwitch,
        PolicyVersion,
    )

# Longer than the time limits of both calls of one attempt, so that only a dead worker's row is claimed again.
PUSH_LEASE = timedelta(seconds=90)
ENDING_SOON = timedelta(days=14)

# A row for each mailbox that a list concerns, and that has none of its kind.
_ENSURE = """
INSERT INTO policy_gatelist (mailbox_id, kind, wanted, pushed, gate_version, attempts, last_error)
SELECT DISTINCT mailbox.id, list.kind, 1, 0, 0, 0, ''
FROM policy_allowlist AS list
JOIN mirror_mailbox AS mailbox
  ON list.version > 0
 AND (list.connection_id IS NULL OR list.connection_id = mailbox.connection_id)
 AND (list.mailbox_id IS NULL OR list.mailbox_id = mailbox.id)
WHERE NOT EXISTS (SELECT FROM policy_gatelist AS made WHERE made.mailbox_id = mailbox.id AND made.kind = list.kind)
ON CONFLICT DO NOTHING
"""


def _of_visible(actor: Actor) -> Q:
    """Rows of a connection or of a mailbox that the actor sees."""
    connections = apps.get_model("mirror", "Connection").objects.visible_to(actor).values("pk")
    mailboxes = apps.get_model("mirror", "Mailbox").objects.visible_to(actor).values("pk")
    return Q(connection__in=connections) | Q(mailbox__in=mailboxes)


class KillSwitchQuerySet(models.QuerySet["KillSwitch"]):
    """Reads of the kill switch."""

    def pulled(self) -> Self:
        """Those that stop something now."""
        return self.filter(released_at=None)

    def stopping(self, *, connection: object, mailbox: object) -> Self:
        """Those pulled for everything, for this connection or for this mailbox: keys, or references of a query.

        A message whose mailbox is not known may be in any of its connection: there each of them stops it.
        """
        everything = Q(connection=None, mailbox=None)
        if mailbox is None:
            one = Q(mailbox__connection=connection)
        else:
            one = Q(mailbox__connection=connection, mailbox=Coalesce(mailbox, F("mailbox")))
        return self.pulled().filter(everything | Q(connection=connection) | one)

    def visible_to(self, actor: Actor) -> Self:
        """Those that stop something the actor sees, newest first, with their names."""
        named = self.pulled().select_related("pulled_by", "connection", "mailbox").order_by("-pulled_at")
        if actor.sees_all():
            return named
        return named.filter(Q(connection=None, mailbox=None) | _of_visible(actor))


class AllowlistQuerySet(models.QuerySet["Allowlist"]):
    """Reads of the allowlists."""

    def visible_to(self, actor: Actor) -> Self:
        """Those for all, and those of what the actor has a role for."""
        if actor.sees_all():
            return self
        everybody = Q(connection=None, mailbox=None) if actor.scopes else Q(pk=None)
        return self.filter(everybody | _of_visible(actor))

    def for_overview(self, at: datetime) -> Self:
        """Those that were ever written, with their names, and of each how many entries live and what they let through.

        Those for all come first, then those of connections.
        """
        live = Q(entries__removed_at=None) & (Q(entries__expires_at=None) | Q(entries__expires_at__gt=at))
        there = self.filter(connection__removed_at=None, mailbox__connection__removed_at=None)
        counted = there.filter(version__gt=0).annotate(
            live=Count("entries", filter=live), hits=Coalesce(Sum("entries__hits"), 0)
        )
        named = counted.select_related("connection", "mailbox__connection", "changed_by")
        return named.order_by(F("mailbox").asc(nulls_first=True), F("connection").asc(nulls_first=True), "-kind")

    def in_force(self, *, kind: str, connections: Collection[int], mailboxes: Collection[int] | None = None) -> Self:
        """Those that are not off, for all, for these connections, or for these mailboxes, with their names.

        Without `mailboxes`, for any mailbox of the connections.
        """
        here = Q(connection=None, mailbox=None) | Q(connection__in=connections)
        here |= Q(mailbox__connection__in=connections) if mailboxes is None else Q(mailbox__in=mailboxes)
        named = self.exclude(mode="off").prefetch_related("mailbox", "connection")
        return named.filter(here, kind=kind).order_by("pk")

    def for_scope(self, connection: int | None, mailbox: int | None, kind: str) -> "Allowlist":
        """Return the list of one scope with its names; where there is none yet, one that is off and not stored."""
        named = self.select_related("mailbox__connection", "connection")
        found = named.filter(connection=connection, mailbox=mailbox, kind=kind)
        return found.first() or self.model(connection_id=connection, mailbox_id=mailbox, kind=kind)


class AllowEntryQuerySet(models.QuerySet["AllowEntry"]):
    """Reads of the entries of allowlists."""

    def of_list(self, row: "Allowlist") -> Self:
        """Those of one list that were not removed; none of a list that is not stored."""
        return self.not_removed().filter(allowlist=row.pk)

    def not_removed(self) -> Self:
        """Those that were not removed, expired or not."""
        return self.filter(removed_at=None)

    def naming(self, patterns: Collection[str], *, lists: Collection[int]) -> Self:
        """Those of these lists that have one of the patterns (relies on allow_entry_pattern)."""
        return self.not_removed().filter(allowlist__in=lists, pattern__in=patterns)

    def live(self, at: datetime) -> Self:
        """Those neither removed nor expired at this time."""
        return self.not_removed().exclude(expires_at__lte=at)

    def visible_to(self, actor: Actor) -> Self:
        """Those of lists that the actor sees."""
        lists = apps.get_model("policy", "Allowlist").objects.visible_to(actor)
        return self.filter(allowlist__in=lists.values("pk"))

    def showing(self, which: str, at: datetime) -> Self:
        """Only the expired, those that end within two weeks, or those that never let anybody through."""
        if which == "expired":
            return self.filter(expires_at__lte=at)
        if which == "ending":
            return self.filter(expires_at__gt=at, expires_at__lte=at + ENDING_SOON)
        return self.filter(hits=0) if which == "unused" else self

    def found_by(self, text: str) -> Self:
        """Those that let this address through, or that contain these words; empty finds all."""
        if not text:
            return self
        words = Q(pattern__icontains=text) | Q(note__icontains=text)
        words |= Q(owner__name__icontains=text) | Q(owner__email__icontains=text)
        try:
            return self.filter(Q(pattern__in=patterns_for(clean_address(text))) | words)
        except ValueError:
            return self.filter(words)

    def for_page(self, after: str) -> Self:
        """In the order of their patterns from behind `after` on, with names (relies on allow_entry_once)."""
        named = self.select_related("owner", "added_by").order_by("pattern")
        return named.filter(pattern__gt=after) if after else named

    def for_export(self) -> Iterator[tuple[str, str, str, datetime | None]]:
        """Pattern, note, owner's address and end of each, in the order of the pages, without all of them in memory."""
        fields = ("pattern", "note", "owner__email", "expires_at")
        rows = self.order_by("pattern").values_list(*fields).iterator(chunk_size=2000)
        return ((pattern, note, owner or "", ends) for pattern, note, owner, ends in rows)


class AllowChangeQuerySet(models.QuerySet["AllowChange"]):
    """Reads of what was changed in allowlists."""

    def for_page(self, before: int | None) -> Self:
        """The newest first, from behind the row `before` on, with names (relies on allow_change_of_list)."""
        named = self.select_related("by", "entry", "allowlist").order_by("-pk")
        return named.filter(pk__lt=before) if before is not None else named

    def after_version(self, version: int) -> Self:
        """What was changed since a version, the newest first."""
        return self.filter(version__gt=version).for_page(None)


class GateListQuerySet(models.QuerySet["GateList"]):
    """Reads and claims of what the gates have; due times and leases use the database's clock."""

    def behind(self) -> Self:
        """Those whose gate does not have what it should (relies on gate_list_to_push)."""
        return self.filter(pushed__lt=F("wanted"))

    def to_push(self) -> Self:
        """Those to push to their gate now; without an admin key only the desk enforces the list."""
        due = self.behind().filter(next_attempt_at__lte=Now())
        there = due.unleased().filter(mailbox__is_active=True, mailbox__connection__removed_at=None)
        asked = there.filter(mailbox__connection__paused_at=None)
        return asked.exclude(mailbox__connection__admin_key="").order_by("next_attempt_at")

    def unleased(self) -> Self:
        """Those that no worker has claimed, or whose worker died."""
        return self.filter(Q(lease_until=None) | Q(lease_until__lt=Now()))

    def claim(self, pk: int) -> "GateList | None":
        """Claim one for one attempt; None when it is not due, or somebody else has claimed it."""
        mine = self.filter(pk__in=self.to_push().filter(pk=pk).values("pk"), pushed__lt=F("wanted"))
        if not mine.unleased().update(lease_until=Now() + PUSH_LEASE, attempts=F("attempts") + 1):
            return None
        return self.select_related("mailbox__connection").get(pk=pk)

    def visible_to(self, actor: Actor) -> Self:
        """Those of mailboxes that the actor has a role for."""
        if actor.sees_all():
            return self
        return self.filter(mailbox__in=apps.get_model("mirror", "Mailbox").objects.visible_to(actor).values("pk"))

    def for_page(self) -> Self:
        """With their mailboxes and connections, by mailbox."""
        named = self.select_related("mailbox__connection").filter(mailbox__connection__removed_at=None)
        return named.order_by("mailbox__address", "mailbox", "-kind")

    def of_lists(self, *, connection: int | None, mailbox: int | None, kind: str) -> Self:
        """Those that a list of this scope and kind is part of."""
        mine = self.filter(kind=kind)
        if mailbox is not None:
            return mine.filter(mailbox=mailbox)
        return mine if connection is None else mine.filter(mailbox__connection=connection)

    def ensure(self) -> int:
        """Give a row to each mailbox that a list concerns and that has none yet, as new ones do; returns how many."""
        with database.cursor() as cursor:
            cursor.execute(_ENSURE)
            return int(cursor.rowcount)


class GateRefusalQuerySet(models.QuerySet["GateRefusal"]):
    """What was refused before anything was queued."""

    def visible_to(self, actor: Actor) -> Self:
        """Of what the actor has a role for; where the mailbox is not known, for the whole connection."""
        if actor.sees_all():
            return self
        connections = [scope.connection for scope in actor.scopes if scope.mailbox is None]
        mailboxes = [scope.mailbox for scope in actor.scopes if scope.mailbox is not None]
        return self.filter(Q(connection__in=connections) | Q(mailbox__in=mailboxes))

    def under(self, *, connection: int | None, mailbox: int | None) -> Self:
        """Those that a list of this scope applies to."""
        if mailbox is not None:
            return self.filter(mailbox=mailbox)
        return self if connection is None else self.filter(connection=connection)

    def since(self, at: datetime) -> Self:
        """Of real mail, refused from then on, newest first (relies on gate_refusal_newest)."""
        return self.filter(refused_at__gte=at, sandbox=False).order_by("-refused_at", "-id")

    def for_page(self, before: int | None) -> Self:
        """Newest first from behind the row `before` on, with names (relies on gate_refusal_newest)."""
        named = self.select_related("connection", "mailbox").order_by("-refused_at", "-id")
        last = self.filter(pk=before).values_list("refused_at", "pk").first() if before else None
        if last is None:
            return named
        return named.filter(Q(refused_at__lt=last[0]) | Q(refused_at=last[0], pk__lt=last[1]))


class PolicyVersionQuerySet(models.QuerySet["PolicyVersion"]):
    """Reads of the versions of the rules."""

    def active(self) -> Self:
        """The one in force, if any."""
        return self.filter(state="active")

    def draft(self) -> Self:
        """The one that is being written, if any."""
        return self.filter(state="draft")

    def activated(self) -> Self:
        """Those that are or were active, the newest first, with who wrote and activated them."""
        named = self.exclude(state="draft").select_related("author", "activated_by")
        return named.order_by("-activated_at", "-number")
