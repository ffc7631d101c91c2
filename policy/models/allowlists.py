"""The tables of allowlists and their entries. A list is for all mail, one connection or
one mailbox, and restricts recipients or lets mail skip review.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Count, F, Q, Sum
from django.db.models.functions import Coalesce, Now
from django.urls import reverse
from django.utils import timezone

from common.actors import Actor, Role
from common.mail_addresses import clean_address, patterns_for
from mirror.models import Connection, Mailbox

KINDS = {"restriction": "Allowed recipients", "bypass": "Sent without review"}


@dataclass(frozen=True)
class ModeWords:
    """How pages show a mode of a list: its name, the colour of its chip, what it does."""

    mode: str
    name: str
    tone: str
    means: str


RESTRICTION_MODES = (
    ModeWords("off", "Off", "plain", "Blocks nobody; its entries do not count."),
    ModeWords(
        "monitor", "Monitor", "blue", "Blocks nobody; records who would be blocked."
    ),
    ModeWords(
        "contacts",
        "Contacts and entries",
        "green",
        "Allows the account's contacts and the entries.",
    ),
    ModeWords(
        "enforce",
        "Enforce",
        "green",
        "Allows only the entries. An empty list blocks everyone.",
    ),
)
BYPASS_MODES = (
    ModeWords("off", "Off", "plain", "Everything waits for review."),
    ModeWords(
        "monitor",
        "Monitor",
        "blue",
        "Everything waits; records what would have been sent.",
    ),
    ModeWords(
        "enforce",
        "Enforce",
        "rose",
        "Sends mail without review if every recipient is on the list.",
    ),
)


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

    def for_overview(self, at: datetime) -> Self:
        """The lists that were ever saved, each with the number of its live entries
        (`live`) and of the messages that its entries let through (`hits`).

        Lists for all mail come first, then those of connections.
        """
        live = Q(entries__removed_at=None) & (
            Q(entries__expires_at=None) | Q(entries__expires_at__gt=at)
        )
        saved = self.filter(
            version__gt=0,
            connection__removed_at=None,
            mailbox__connection__removed_at=None,
        )
        counted = saved.annotate(
            live=Count("entries", filter=live), hits=Coalesce(Sum("entries__hits"), 0)
        )
        named = counted.select_related(
            "connection", "mailbox__connection", "changed_by"
        )
        return named.order_by(
            F("mailbox").asc(nulls_first=True),
            F("connection").asc(nulls_first=True),
            "-kind",
        )

    def in_force(
        self,
        *,
        kind: str,
        connections: Collection[int],
        mailboxes: Collection[int] | None = None,
    ) -> Self:
        """The lists that are not off: for all mail, for these connections, and for
        these mailboxes; if `mailboxes` is None, for any mailbox of the connections.

        Lists of mailboxes come first, then those of connections, then those for all
        mail.
        """
        applies = Q(connection=None, mailbox=None) | Q(connection__in=connections)
        applies |= (
            Q(mailbox__connection__in=connections)
            if mailboxes is None
            else Q(mailbox__in=mailboxes)
        )
        named = self.exclude(mode="off").prefetch_related("mailbox", "connection")
        return named.filter(applies, kind=kind).order_by("mailbox_id", "connection_id")


class Allowlist(models.Model):
    """An allowlist for all mail, one connection or one mailbox. A restriction says who
    may be written to. A bypass lets the gate send mail to its recipients without
    review.

    Each change raises `version`. A change that was made on the basis of an older
    version is refused.
    """

    class Kind(models.TextChoices):
        RESTRICTION = "restriction", "Restriction"
        BYPASS = "bypass", "Bypass"

    class Mode(models.TextChoices):
        OFF = "off", "Off"
        MONITOR = "monitor", "Monitor"
        CONTACTS = "contacts", "Contacts"
        ENFORCE = "enforce", "Enforce"

    # One of these at most; if both are None, the list is for all mail.
    connection = models.ForeignKey(Connection, null=True, on_delete=models.CASCADE)
    mailbox = models.ForeignKey(Mailbox, null=True, on_delete=models.CASCADE)
    kind = models.CharField(max_length=12, choices=Kind)
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.OFF)
    version = models.PositiveIntegerField(default=0)
    changed_at = models.DateTimeField(db_default=Now())
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    objects = AllowlistQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "mailbox", "kind"],
                nulls_distinct=False,
                name="allowlist_once",
            ),
            models.CheckConstraint(
                condition=Q(connection=None) | Q(mailbox=None),
                name="allowlist_one_scope",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["restriction", "bypass"]),
                name="policy_allowlist_kind_known",
            ),
            models.CheckConstraint(
                condition=Q(mode__in=["off", "monitor", "contacts", "enforce"]),
                name="policy_allowlist_mode_known",
            ),
            models.CheckConstraint(
                condition=~Q(kind="bypass", mode="contacts"),
                name="policy_allowlist_contacts_only_restricts",
            ),
        ]

    @property
    def label(self) -> str:
        """The mailbox or connection that it is for, or "all mail"."""
        return str(self.mailbox or self.connection or "all mail")

    @property
    def title(self) -> str:
        """Its kind in words."""
        return KINDS[self.kind]

    @property
    def modes(self) -> tuple[ModeWords, ...]:
        """The modes that it can have."""
        return BYPASS_MODES if self.is_bypass else RESTRICTION_MODES

    @property
    def mode_words(self) -> ModeWords:
        """How pages show its mode."""
        return self.words_of(self.mode)

    def words_of(self, mode: str) -> ModeWords:
        """Return how pages show one of the modes that this kind of list can have."""
        return next(
            (one for one in self.modes if one.mode == mode), RESTRICTION_MODES[0]
        )

    def is_administered_by(self, actor: Actor) -> bool:
        """Whether the actor may change it: an admin of everything that it covers."""
        return actor.is_a(
            Role.ADMIN, connection=self.owning_connection, mailbox=self.mailbox_id
        )

    @property
    def owning_connection(self) -> int | None:
        """The key of the connection that it is for, or whose mailbox it is for."""
        return self.mailbox.connection_id if self.mailbox else self.connection_id

    @property
    def scope(self) -> str:
        """What it is for, as in its URL: "all", "connection-3", "mailbox-7"."""
        if self.mailbox_id is not None:
            return f"mailbox-{self.mailbox_id}"
        return f"connection-{self.connection_id}" if self.connection_id else "all"

    @property
    def url(self) -> str:
        """The address of its page."""
        return reverse("allowlist", args=[self.scope, self.kind])

    @property
    def is_bypass(self) -> bool:
        """Whether it lets mail skip review, instead of restricting recipients."""
        return self.kind == self.Kind.BYPASS


class AllowEntryQuerySet(models.QuerySet["AllowEntry"]):
    """Reads of the entries of allowlists."""

    def of_list(self, row: Allowlist) -> Self:
        """Those of one list that were not removed; none of a list that is not stored."""
        return self.not_removed().filter(allowlist=row.pk)

    def not_removed(self) -> Self:
        """Those that were not removed, expired or not."""
        return self.filter(removed_at=None)

    def live(self, at: datetime) -> Self:
        """Those neither removed nor expired at this time."""
        return self.not_removed().exclude(expires_at__lte=at)

    def visible_to(self, actor: Actor) -> Self:
        """Those of lists that the actor sees."""
        return self.filter(allowlist__in=Allowlist.objects.visible_to(actor))

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
        named = self.select_related("owner", "added_by").order_by("pattern")
        return named.filter(pattern__gt=after) if after else named

    def for_export(self) -> Iterator[tuple[str, str, str, datetime | None]]:
        """Yield (pattern, note, owner's address, end) of each, in chunks."""
        fields = ("pattern", "note", "owner__email", "expires_at")
        return self.order_by("pattern").values_list(*fields).iterator(chunk_size=2000)


class AllowEntry(models.Model):
    """One entry of a list: an address or domain, in the form that
    `common.mail_addresses.read_pattern` returns. A removed entry is kept, with its hits
    and history.
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
    # Messages that it let through, each counted once.
    hits = models.PositiveIntegerField(default=0)
    last_hit_at = models.DateTimeField(null=True)
    # Each change of the entry, in order, as `note_change` writes it: at, by (a person's
    # key), did, version; and the note, owner and end that it had from then on.
    history = models.JSONField(default=list)

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

    def __str__(self) -> str:
        ends = f" until {self.expires_at:%Y-%m-%d %H:%M}" if self.expires_at else ""
        return f"{self.pattern}{ends}"

    def differs_from(self, *wanted: object) -> bool:
        """Whether its note, owner's key and end are not these three."""
        return (self.note, self.owner_id, self.expires_at) != wanted

    def note_change(self, did: str, *, at: datetime, by: int, version: int) -> None:
        """Append to its history what was done, with its note, owner and end."""
        ends = self.expires_at.isoformat() if self.expires_at else None
        done = {"did": did, "at": at.isoformat(), "by": by, "version": version}
        had = {"note": self.note, "owner": self.owner_id, "ends": ends}
        self.history = [*self.history, {**done, **had}]

    @property
    def is_live(self) -> bool:
        """Whether it is neither removed nor expired."""
        return self.removed_at is None and (
            self.expires_at is None or self.expires_at > timezone.now()
        )
