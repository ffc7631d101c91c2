"""The ledger's tables: entries, the seals over them, saved searches, and the desk's
own checks.

Entries and seals can only be added; personal details can be removed. Nothing here
points to other tables: an entry must outlive what it is about.
"""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, timedelta
from typing import Any, Self, TypeVar

from django.contrib.postgres.indexes import BrinIndex, GinIndex, HashIndex, OpClass
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce, Lower, Now

from audit.actions import ACTIONS, FOR_ADMINS_AND_AUDITORS, TECHNICAL
from audit.fields import TransactionIdField
from audit.verifier.countersign_verify import fingerprint_of
from audit.visibility import visible_messages
from common.actors import Actor, Role
from common.fingerprint import canonical_json

_Saved = TypeVar("_Saved", bound="Saved")

# How many entries are in memory at once where all are read.
AT_ONCE = 1000

# --- Entries --------------------------------------------------------------------------


class EntryQuerySet(models.QuerySet["Entry"]):
    """Reads of the ledger."""

    def newest_first(self) -> Self:
        return self.order_by("-id")

    def oldest_first(self) -> Self:
        return self.order_by("id")

    def with_details(self) -> Self:
        """Every entry with its details as `details`, which are empty where they were
        removed.

        Not as a related object: the two would refer to each other, and only the garbage
        collector could free them.
        """
        removed = Value({}, models.JSONField())
        return self.annotate(details=Coalesce("detail__fields", removed))

    def with_salts(self) -> Self:
        """Every entry with its details, and what they are checked by."""
        return self.with_details().annotate(
            salt=F("detail__salt"), words=F("detail__words")
        )

    def of_message(self, message: Any) -> Self:
        """Every entry about one message, by its public id."""
        return self.filter(message=message)

    def of_messages(self, messages: Iterable[Any]) -> Self:
        """Every entry about any of these messages (relies on entry_message)."""
        return self.filter(message__in=list(messages))

    def after(self, entry_id: int) -> Self:
        """Entries newer than one: the page before."""
        return self.filter(id__gt=entry_id)

    def before(self, entry_id: int) -> Self:
        """Entries older than one: the next page."""
        return self.filter(id__lt=entry_id)

    def sealing_order(self) -> Self:
        """In the order in which seals take them (relies on entry_to_seal)."""
        return self.order_by("xid", "id")

    def after_seal(self, last: "Seal | None") -> Self:
        """What follows the last seal, or all entries before the first one, in the order
        of seals.
        """
        if last is None:
            return self.sealing_order()
        # The first condition leads the index to its place; the second leaves out the
        # rest of that transaction.
        return (
            self.filter(xid__gte=last.end_xid, id__gt=last.after_id)
            .exclude(xid=last.end_xid, id__lte=last.end_id)
            .sealing_order()
        )

    def unsealed(self) -> Self:
        """Entries that no seal covers, in the order of seals."""
        sealed = SealedEntry.objects.filter(entry=models.OuterRef("pk"))
        return self.filter(~models.Exists(sealed)).sealing_order()

    def without_steps(self) -> Self:
        """Without intermediate steps, and without entries that repeat another entry of
        the same act.
        """
        steps = (
            "message.fetched",
            "message.served",
            "decision.recorded",
            "decision.calling",
            "decision.applied",
            "approval.recorded",
            "alert.delivered",
        )
        return self.exclude(action__in=steps)

    def without_technical(self) -> Self:
        """Without what programs write in the ordinary course (relies on entry_shown)."""
        return self.exclude(action__in=sorted(TECHNICAL))

    def technical(self) -> Self:
        """Only what programs write in the ordinary course."""
        return self.filter(action__in=sorted(TECHNICAL))

    def of_person(self, person: int) -> Self:
        """Entries of one person, through any surface."""
        return self.filter(actor_kind="person", actor_id=str(person))

    def of_action(self, action: str) -> Self:
        return self.filter(action=action)

    def since(self, age: timedelta) -> Self:
        """Entries no older than that."""
        return self.filter(at__gte=Now() - age)

    def readable_by(self, actor: Actor) -> Self:
        """What the actor may read: everything within reach of a role; acts outside any
        mailbox only by a role for all.

        Entries hold no mailbox, so a role for single mailboxes reads entries through
        its messages. Reviewers do not read what is for admins and auditors alone.
        """
        if actor.sees_all():
            return (
                self
                if reads_everything(actor)
                else self.exclude(action__in=sorted(FOR_ADMINS_AND_AUDITORS))
            )
        return self.filter(message__in=visible_messages(actor).values("public_id"))


def reads_everything(actor: Actor) -> bool:
    """Whether no entry is hidden from the actor: admins and auditors of everything."""
    return any(
        scope.is_everywhere and scope.role is not Role.REVIEWER
        for scope in actor.scopes
    )


class Entry(models.Model):
    """One act: who, when, through what, on what. It holds no personal text;
    `detail_hashes` commit to the details.
    """

    id = models.BigIntegerField(primary_key=True)
    xid = TransactionIdField()
    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=16)
    actor_id = models.CharField(max_length=64)
    surface = models.CharField(max_length=16)
    action = models.CharField(max_length=40)
    connection = models.BigIntegerField(null=True)
    message = models.UUIDField(null=True)
    fingerprint = models.CharField(max_length=64)
    trace = models.CharField(max_length=64)
    detail_hashes = models.JSONField(default=dict)
    # The result, where the action alone does not show it. Unlike details it is never
    # removed.
    outcome = models.CharField(max_length=16, default="", db_default="")
    # Proves that the desk wrote the entry: a MAC with a key that the database does not
    # have (audit.recording.mac_of).
    mac = models.CharField(max_length=64, default="", db_default="")
    # SHA-256 over all other columns (audit.recording.canonical_entry).
    hash = models.CharField(max_length=64)

    objects = EntryQuerySet.as_manager()

    # What only some queries read: the details, and the subject of its message where
    # these have none.
    details: dict[str, str]
    about = ""

    class Meta:
        indexes = [
            # The trace of one message, in order.
            models.Index(fields=["message", "id"], name="entry_message"),
            # Entries arrive in the order of time, so a range of time is a range of
            # blocks, and of numbers: with both, the few out of order are found at once.
            BrinIndex(fields=["at", "id"], name="entry_at_brin"),
            # The next entries to seal, in the order of the seals.
            models.Index(fields=["xid", "id"], name="entry_to_seal"),
            # The newest of each kind, however rare it is.
            models.Index(fields=["action", "id"], name="entry_action"),
            # What the page shows at first, however many technical entries stand in
            # between.
            models.Index(
                fields=["id"],
                condition=~Q(action__in=sorted(TECHNICAL)),
                name="entry_shown",
            ),
            models.Index(fields=["actor_kind", "actor_id", "id"], name="entry_actor"),
            models.Index(fields=["surface", "id"], name="entry_surface"),
            models.Index(fields=["connection", "id"], name="entry_connection"),
            # For identifiers copied from elsewhere, also by prefix.
            models.Index(
                OpClass("fingerprint", "varchar_pattern_ops"),
                condition=~Q(fingerprint=""),
                name="entry_fingerprint",
            ),
            models.Index(
                OpClass("trace", "varchar_pattern_ops"),
                condition=~Q(trace=""),
                name="entry_trace",
            ),
            # Recent refused verdicts: few among many entries.
            models.Index(
                fields=["at"],
                condition=Q(action="verdict.refused"),
                name="entry_refused",
            ),
            # Whether a code was used before.
            HashIndex(fields=["mac"], name="entry_mac"),
        ]

    @property
    def sentence(self) -> str:
        """What happened, as it reads after the actor's name."""
        return ACTIONS.get(self.action, self.action)

    @property
    def is_redacted(self) -> bool:
        """Whether its details were removed. Each entry had some, and still has their
        hashes.
        """
        return bool(self.detail_hashes) and not self.details

    @property
    def subject(self) -> str:
        """The subject of the message, from this entry or from another about it."""
        return self.details.get("subject") or self.about

    @property
    def actor(self) -> str:
        """The actor, by name unless the details were removed."""
        return self.details.get("actor", f"{self.actor_kind} {self.actor_id}")

    @property
    def trigger(self) -> dict[str, str]:
        """What the sender wrote about who started the message."""
        return {
            name.removeprefix("trigger."): value
            for name, value in self.details.items()
            if name.startswith("trigger.")
        }

    def as_json(self) -> dict[str, Any]:
        """Return the entry for scripts."""
        return {
            "id": self.pk,
            "at": self.at.isoformat(),
            "action": self.action,
            "actor_kind": self.actor_kind,
            "actor_id": self.actor_id,
            "actor": self.actor,
            "surface": self.surface,
            "connection": self.connection,
            "message": str(self.message) if self.message else None,
            "fingerprint": self.fingerprint,
            "trace": self.trace,
            "hash": self.hash,
            "details": self.details,
            "details_removed": self.is_redacted,
        }


class EntryDetail(models.Model):
    """The personal part of an entry. Removing it leaves the entry verifiable, because
    the salt goes with it.
    """

    entry = models.OneToOneField(
        Entry, primary_key=True, on_delete=models.DO_NOTHING, related_name="detail"
    )
    salt = models.BinaryField()
    fields = models.JSONField(default=dict)
    # The words that it is found by: its own, and those of the message it is about.
    words = SearchVectorField(null=True)

    class Meta:
        # No append should have to merge more than this many kilobytes of pending index
        # entries.
        indexes = [
            GinIndex(
                fields=["words"], name="entrydetail_words", gin_pending_list_limit=1024
            )
        ]


# --- Seals, docs/ledger.md ------------------------------------------------------------


SEAL_FIELDS = """
    v number kind epoch count size entries previous end_xid end_id after_id
    cluster at key next_key note
""".split()


class Seal(models.Model):
    """A signed statement: this batch of entries, in this order, follows those of the
    seal before it.
    """

    class Kind(models.TextChoices):
        SEAL = "seal", "Seal"
        # The first seal after a restore from a backup: says where the ledger continues.
        RESTORED = "restored", "Restored"
        # Signed with the old key, and names the new one.
        KEY = "key", "Key"

    number = models.BigIntegerField(primary_key=True)
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.SEAL)
    # Counts the restores. Transaction ids are only comparable within one.
    epoch = models.PositiveIntegerField(default=1)
    # How many entries its batch has, and how many are under this seal and all before
    # it.
    count = models.BigIntegerField()
    size = models.BigIntegerField()
    # SHA-256 over the hashes of the batch's entries, in order.
    entries = models.CharField(max_length=64)
    # SHA-256 over what the seal before signed and its signature; empty for the first.
    previous = models.CharField(max_length=64)
    # The last entry's transaction and number: of this epoch, what comes up to there is
    # sealed.
    end_xid = TransactionIdField()
    end_id = models.BigIntegerField()
    # Entries up to this number belong to earlier epochs.
    after_id = models.BigIntegerField(default=0)
    # The database cluster's own identifier; another one means that the ledger was
    # restored elsewhere.
    cluster = models.CharField(max_length=32)
    at = models.DateTimeField()
    # The raw public key, 32 bytes in hex, and the one that follows it where the kind
    # says so.
    key = models.CharField(max_length=64)
    next_key = models.CharField(max_length=64)
    note = models.TextField()
    signature = models.CharField(max_length=128)

    class Meta:
        # Restores and changes of the key: few among many seals.
        indexes = [
            models.Index(
                fields=["number"], condition=~Q(kind="seal"), name="seal_special"
            )
        ]

    @property
    def key_fingerprint(self) -> str:
        """The key that signed it, as people compare it."""
        return fingerprint_of(self.key)

    @property
    def next_key_fingerprint(self) -> str:
        """The key that signs from the next seal on, where it is another."""
        return fingerprint_of(self.next_key) if self.next_key else ""

    @property
    def expected_key(self) -> str:
        """The public key that the seal after this one is signed with."""
        return self.next_key or self.key

    def signed_fields(self) -> dict[str, Any]:
        """Return all that the seal says, as docs/ledger.md describes it."""
        at = self.at.astimezone(UTC).isoformat(timespec="microseconds")
        texts = {"v": 2, "kind": str(self.kind), "end_xid": str(self.end_xid), "at": at}
        return {
            name: texts[name] if name in texts else getattr(self, name)
            for name in SEAL_FIELDS
        }

    @property
    def signed_bytes(self) -> bytes:
        """The bytes under the signature."""
        return b"countersign seal v2\n" + canonical_json(self.signed_fields())

    @property
    def hash(self) -> str:
        """The hash of the seal, which the next one calls `previous`."""
        signed = self.signed_bytes + bytes.fromhex(self.signature)
        return hashlib.sha256(signed).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """Return the checkpoint that outsiders keep: the seal and its signature."""
        return {**self.signed_fields(), "signature": self.signature}

    def as_line(self) -> bytes:
        """Return the checkpoint as one line of a file."""
        return canonical_json(self.as_json()) + b"\n"


class SealedEntryQuerySet(models.QuerySet["SealedEntry"]):
    """Reads of what was sealed."""

    def under(self, seal: Seal) -> models.QuerySet["SealedEntry", Any]:
        """The hashes of what one seal covers, in its order."""
        return (
            self.filter(position__gte=seal.size - seal.count, position__lt=seal.size)
            .order_by("position")
            .values_list("hash", flat=True)
        )

    def with_entries(
        self, entries: EntryQuerySet
    ) -> Iterator[tuple["SealedEntry", Entry | None]]:
        """Yield all rows in their order, each with its entry, or None where that is
        gone; some at a time.
        """
        after = -(2**63)
        while rows := list(
            self.filter(position__gt=after).order_by("position")[:AT_ONCE]
        ):
            found = entries.in_bulk([row.entry for row in rows])
            for row in rows:
                yield row, found.get(row.entry)
            after = rows[-1].position


class SealedEntry(models.Model):
    """The seal that covers an entry, and the entry's hash as it was sealed, which stays
    if the entry is altered.
    """

    entry = models.BigIntegerField(primary_key=True)
    seal = models.BigIntegerField()
    # Its place among all sealed entries, from 0. Where an entry is gone, nothing else
    # shows where it was.
    position = models.BigIntegerField(unique=True)
    hash = models.BinaryField()

    objects = SealedEntryQuerySet.as_manager()


class Anchor(models.Model):
    """Where a seal was written outside the database, so that deleted entries at the end
    are found.
    """

    class Kind(models.TextChoices):
        FILE = "file", "File"
        DISCORD = "discord", "Discord"

    seal = models.BigIntegerField(db_index=True)
    kind = models.CharField(max_length=8, choices=Kind)
    # The name of the file or destination, and the seal's reference there.
    place = models.CharField(max_length=200)
    reference = models.CharField(max_length=64)
    # The seal that was written there before, so that a removed anchor is noticed; 0
    # where that is not known.
    previous = models.BigIntegerField(default=0)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        # The newest anchor of each location, however many there are.
        indexes = [models.Index(fields=["kind", "place", "seal"], name="anchor_place")]


# --- Searches and checks --------------------------------------------------------------


class SavedQuerySet(models.QuerySet[_Saved]):
    """Reads of addresses that people saved."""

    def of(self, actor: Actor) -> Self:
        """Those that this person saved."""
        return (
            self.filter(person_id=actor.id) if actor.kind == "person" else self.none()
        )

    def usable_by(self, actor: Actor) -> Self:
        """Their own and those that others share: their own first, then by name.

        It is an address and nothing more: whoever opens it sees what they may see.
        """
        if actor.kind != "person":
            return self.none()
        mine = Q(person_id=actor.id)
        return (
            self.filter(mine | Q(shared=True))
            .annotate(is_mine=mine)
            .order_by("-is_mine", "name", "pk")
        )


class Saved(models.Model):
    """The address of a list, saved under a name. Everybody who may read the list can
    use a shared one.
    """

    # What people call it, the page that it leads to, and the actions of the ledger.
    noun: str
    page: str
    saved: str
    deleted: str

    person_id: Any
    name = models.CharField(max_length=60)
    # The query string in its one spelling.
    query = models.CharField(max_length=1000)
    shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    objects = SavedQuerySet.as_manager()

    class Meta:
        abstract = True

    @property
    def in_words(self) -> str:
        """What it shows and to whom, for the ledger."""
        whom = "everybody" if self.shared else "its owner"
        return f"{self.noun}: {self.query or 'everything'}; for: {whom}"


class SavedSearch(Saved):
    """A saved search of the ledger."""

    noun = "search"
    page = "audit"
    saved = "ledger.search_saved"
    deleted = "ledger.search_deleted"

    person_id = models.BigIntegerField()
    # The person's name, where it is asked for.
    owner = ""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "person_id", Lower("name"), name="saved_search_name_once"
            )
        ]
        indexes = [
            models.Index(
                fields=["shared"], condition=Q(shared=True), name="saved_search_shared"
            )
        ]


class CheckQuerySet(models.QuerySet["Check"]):
    """Reads of the checks of the whole ledger."""

    def newest_first(self) -> Self:
        return self.order_by("-id")

    def running(self) -> Self:
        return self.filter(state=Check.State.RUNNING)

    def finished(self) -> Self:
        """Those that came to an end with a result."""
        return self.filter(state__in=(Check.State.HOLDS, Check.State.BROKEN))

    def latest_finished(self) -> Self:
        """The newest of those: its result counts until the next."""
        return self.filter(
            pk=models.Subquery(Check.objects.finished().newest_first().values("pk")[:1])
        )

    def broken(self) -> Self:
        """Those that found what does not hold."""
        return self.filter(state=Check.State.BROKEN)

    def since(self, age: timedelta) -> Self:
        """Those that began no longer ago than that."""
        return self.filter(started_at__gt=Now() - age)

    def idle_for(self, age: timedelta) -> Self:
        """Those that made no progress for so long."""
        return self.filter(moved_at__lt=Now() - age)


class Check(models.Model):
    """One check of the whole ledger, from its first entry to the newest seal."""

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        HOLDS = "holds", "Passed"
        BROKEN = "broken", "Failed"
        ENDED = "ended", "Did not finish"

    # Who asked for it; empty for the daily check.
    asked_by = models.BigIntegerField(null=True)
    state = models.CharField(max_length=8, choices=State, default=State.RUNNING)
    entries = models.BigIntegerField(default=0)
    seals = models.BigIntegerField(default=0)
    # The newest seal when it began, so it covers at least that one; empty until a
    # process begins.
    up_to = models.BigIntegerField(null=True)
    # What does not hold, in sentences, the first of them first.
    findings = models.JSONField(default=list)
    started_at = models.DateTimeField(db_default=Now())
    # When the process that checks last reported its progress.
    moved_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    objects = CheckQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["state"],
                condition=Q(state="running"),
                name="one_check_at_a_time",
            )
        ]

    @property
    def is_broken(self) -> bool:
        return self.state == self.State.BROKEN
