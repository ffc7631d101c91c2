"""The ledger's tables: entries, the seals over them, saved searches, and the desk's
own checks.

Entries and seals can only be added; personal details can be removed. No row refers to
tables of other apps by a foreign key: an entry must outlive what it is about.
"""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from django.contrib.postgres.indexes import BrinIndex, GinIndex, HashIndex, OpClass
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce, Lower, Now

from audit.actions import ACTIONS, TECHNICAL, TEST, TESTED
from audit.fields import TransactionIdField
from audit.verifier.countersign_verify import fingerprint_of
from audit.visibility import visible
from common.actors import Actor
from common.fingerprint import canonical_json

_Saved = TypeVar("_Saved", bound="Saved")

# How many entries are read into memory at a time when all are read.
AT_ONCE = 1000
# A condition on entries. Those that it does not hold for have the index entry_shown.
IS_TECHNICAL = Q(action__in=sorted(TECHNICAL))

# --- Entries --------------------------------------------------------------------------


class EntryQuerySet(models.QuerySet["Entry"]):
    def newest_first(self) -> Self:
        return self.order_by("-id")

    def oldest_first(self) -> Self:
        return self.order_by("id")

    def with_details(self) -> Self:
        """Each entry with its details as the attribute `details`; {} if they were
        removed.

        An annotation instead of `select_related`: a related object and its entry would
        refer to each other, so that only the garbage collector could free them.
        """
        removed = Value({}, models.JSONField())
        return self.annotate(details=Coalesce("detail__fields", removed))

    def with_salts(self) -> Self:
        """Each entry with its details, their salt and their search words, for checks."""
        return self.with_details().annotate(
            salt=F("detail__salt"), words=F("detail__words")
        )

    def of_message(self, message: Any) -> Self:
        """Every entry about one message, by its public id."""
        return self.filter(message=message)

    def of_messages(self, messages: Iterable[Any]) -> Self:
        """Every entry about any of these messages. Uses the index entry_message."""
        return self.filter(message__in=list(messages))

    def sealing_order(self) -> Self:
        """In the order in which entries are sealed. Uses the index entry_to_seal."""
        return self.order_by("xid", "id")

    def after_seal(self, last: "Seal | None") -> Self:
        """Entries after this seal in the sealing order; all if there is no seal."""
        if not last:
            return self.sealing_order()
        # `filter` finds the place in the index. `exclude` leaves out those entries of
        # the seal's last transaction that are sealed.
        return (
            self.filter(xid__gte=last.end_xid, id__gt=last.after_id)
            .exclude(xid=last.end_xid, id__lte=last.end_id)
            .sealing_order()
        )

    def unsealed(self) -> Self:
        """Entries that no seal covers, in the sealing order."""
        sealed = SealedEntry.objects.filter(entry=models.OuterRef("pk"))
        return self.filter(~models.Exists(sealed)).sealing_order()

    def without_steps(self) -> Self:
        """Without intermediate steps, and without entries that repeat another entry of
        the same act.
        """
        steps = """
        message.fetched message.served alert.delivered approval.recorded
        decision.recorded decision.calling decision.applied
        """
        return self.exclude(action__in=steps.split())

    def of_person(self, person: int) -> Self:
        """Entries of what one person did, through any surface."""
        return self.filter(actor_kind="person", actor_id=str(person))

    def of_action(self, action: str) -> Self:
        return self.filter(action=action)

    def readable_by(self, actor: Actor) -> Self:
        """Entries that the actor may read.

        With a role for everything, those are all entries. With a role for connections
        or mailboxes, they are the entries about messages that the actor sees: entries
        have no mailbox.
        """
        if actor.sees_all():
            return self
        return self.filter(message__in=visible("messages", actor).values("public_id"))


class Entry(models.Model):
    """One act: who did what, when, through which surface, and on what. An entry
    contains no personal text: that is in its EntryDetail, and here are only the hashes
    of it.
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
    # The result in one word, if the action alone does not show it, such as "approve".
    # Unlike details it is never removed.
    outcome = models.CharField(max_length=16, default="", db_default="")
    # Proves that the desk wrote the entry: a MAC with a key that the database does not
    # have (audit.recording.mac_of).
    mac = models.CharField(max_length=64, default="", db_default="")
    # SHA-256 over all other columns (audit.recording.canonical_entry).
    hash = models.CharField(max_length=64)

    objects = EntryQuerySet.as_manager()

    # Set only by some queries: the details (`with_details`), and the subject of the
    # message if the details have none (`audit.trail.with_subjects`).
    details: dict[str, str]
    about = ""

    class Meta:
        indexes = [
            # The audit trail of one message, in order.
            models.Index(fields=["message", "id"], name="entry_message"),
            # Entries are written in the order of time, so a range of time is a range of
            # blocks, and of numbers. The index has both, so that the few entries whose
            # number does not fit their time are found quickly.
            BrinIndex(fields=["at", "id"], name="entry_at_brin"),
            # The next entries to seal.
            models.Index(fields=["xid", "id"], name="entry_to_seal"),
            # The newest of each kind, however rare it is.
            models.Index(fields=["action", "id"], name="entry_action"),
            # The entries that are not technical, which the page shows at first, however
            # many technical ones are between them.
            models.Index(
                fields=["id"],
                condition=~IS_TECHNICAL,
                name="entry_shown",
            ),
            models.Index(fields=["actor_kind", "actor_id", "id"], name="entry_actor"),
            models.Index(fields=["surface", "id"], name="entry_surface"),
            models.Index(fields=["connection", "id"], name="entry_connection"),
            # Searches by a fingerprint, and by a trace id or the beginning of one.
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
            # Recent refused verdicts, which are rare.
            models.Index(
                fields=["at"],
                condition=Q(action="verdict.refused"),
                name="entry_refused",
            ),
            # Whether another entry has the same MAC.
            HashIndex(fields=["mac"], name="entry_mac"),
        ]

    @property
    def sentence(self) -> str:
        """What happened, in words that follow the actor's name."""
        if self.outcome == TEST:
            return f"reported “{TESTED}”"
        return ACTIONS.get(self.action, self.action)

    @property
    def is_redacted(self) -> bool:
        """Whether its details were removed. Only their hashes are left then."""
        return bool(self.detail_hashes) and not self.details

    @property
    def subject(self) -> str:
        """The subject of the message, from this entry or another entry about it."""
        return self.details.get("subject") or self.about

    @property
    def actor(self) -> str:
        """The actor's name; kind and id if the details were removed."""
        return self.details.get("actor", f"{self.actor_kind} {self.actor_id}")

    @property
    def trigger(self) -> dict[str, str]:
        """What the sender claimed about who started the message, by field."""
        return {
            name.removeprefix("trigger."): value
            for name, value in self.details.items()
            if name.startswith("trigger.")
        }

    def as_json(self) -> dict[str, Any]:
        """Return the entry for JSON answers and exports."""
        return {
            "id": self.pk,
            "at": self.at.isoformat(),
            "action": self.action,
            "outcome": self.outcome,
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
    """The personal part of an entry, which can be removed; the entry can still be
    verified by its hashes. The salt is removed with it, so that nobody can guess the
    texts from their hashes.
    """

    entry = models.OneToOneField(
        Entry, primary_key=True, on_delete=models.DO_NOTHING, related_name="detail"
    )
    salt = models.BinaryField()
    fields = models.JSONField(default=dict)
    # The search words: those of the details, and those of the message that it is about.
    words = SearchVectorField(null=True)

    class Meta:
        # The limit, in kilobytes, bounds how long a single insert can take: it may have
        # to merge all pending index entries.
        indexes = [
            GinIndex(
                fields=["words"], name="entrydetail_words", gin_pending_list_limit=1024
            )
        ]


# --- Seals, docs/ledger.md ------------------------------------------------------------


# The fields under a seal's signature.
SEAL_FIELDS = """
    v number kind epoch count size entries previous end_xid end_id after_id
    cluster at key next_key note
""".split()


def written_time(at: datetime) -> str:
    """Return a time as the ledger's files write it: in UTC, to the microsecond."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


class Seal(models.Model):
    """A signature over a batch of entries in their order, and over the seal before it;
    so over all entries up to here.
    """

    class Kind(models.TextChoices):
        SEAL = "seal", "Seal"
        # The first seal after a backup was restored: here the ledger continues.
        RESTORED = "restored", "Restored"
        # Signed with the old key, and names the new key.
        KEY = "key", "Key"

    number = models.BigIntegerField(primary_key=True)
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.SEAL)
    # Begins at 1, and each restore raises it. Transaction ids are comparable only
    # within one epoch.
    epoch = models.PositiveIntegerField(default=1)
    # The number of entries in its batch; and in all batches up to it.
    count = models.BigIntegerField()
    size = models.BigIntegerField()
    # SHA-256 over the hashes of the batch's entries, in order.
    entries = models.CharField(max_length=64)
    # The hash of the seal before: SHA-256 over its signed bytes and its signature.
    # Empty for the first seal.
    previous = models.CharField(max_length=64)
    # Transaction and number of the last entry: all entries of this epoch up to there
    # are sealed.
    end_xid = TransactionIdField()
    end_id = models.BigIntegerField()
    # Entries up to this number belong to earlier epochs.
    after_id = models.BigIntegerField(default=0)
    # PostgreSQL's identifier of the database cluster. If it changes, the database was
    # restored into another cluster.
    cluster = models.CharField(max_length=32)
    at = models.DateTimeField()
    # The public key that signed it, 32 bytes in hex; for the kind KEY also the next.
    key = models.CharField(max_length=64)
    next_key = models.CharField(max_length=64)
    note = models.TextField()
    signature = models.CharField(max_length=128)

    class Meta:
        # Restores and changes of the key, which are rare.
        indexes = [
            models.Index(
                fields=["number"], condition=~Q(kind="seal"), name="seal_special"
            )
        ]

    @property
    def key_fingerprint(self) -> str:
        """The fingerprint of the key that signed it, which people can compare."""
        return fingerprint_of(self.key)

    @property
    def next_key_fingerprint(self) -> str:
        """The fingerprint of the next seal's key; empty if the key does not change."""
        return fingerprint_of(self.next_key) if self.next_key else ""

    @property
    def expected_key(self) -> str:
        """The public key that the seal after this one is signed with."""
        return self.next_key or self.key

    def signed_fields(self) -> dict[str, Any]:
        """Return the fields under the signature, as docs/ledger.md describes them."""
        texts = {
            "v": 2,
            "kind": str(self.kind),
            "end_xid": str(self.end_xid),
            "at": written_time(self.at),
        }
        return {name: texts.get(name) or getattr(self, name) for name in SEAL_FIELDS}

    @property
    def signed_bytes(self) -> bytes:
        """The bytes under the signature."""
        return b"countersign seal v2\n" + canonical_json(self.signed_fields())

    @property
    def hash(self) -> str:
        """The hash of the seal, which the next seal has as `previous`; empty if the
        signature is not one.
        """
        try:
            signed = self.signed_bytes + bytes.fromhex(self.signature)
        except ValueError:
            return ""
        return hashlib.sha256(signed).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """Return the checkpoint that outsiders keep: the seal and its signature."""
        return {**self.signed_fields(), "signature": self.signature}

    def as_line(self) -> bytes:
        """Return the checkpoint as one line of a file."""
        return canonical_json(self.as_json()) + b"\n"


class SealedEntryQuerySet(models.QuerySet["SealedEntry"]):
    def under(self, seal: Seal) -> models.QuerySet["SealedEntry", Any]:
        """The hashes of the entries in one seal's batch, in order."""
        return (
            self.filter(position__gte=seal.size - seal.count, position__lt=seal.size)
            .order_by("position")
            .values_list("hash", flat=True)
        )

    def with_entries(
        self, entries: EntryQuerySet
    ) -> Iterator[tuple["SealedEntry", Entry | None]]:
        """Yield all rows in their order, each with its entry, or None if the entry was
        deleted. AT_ONCE rows are in memory at a time.
        """
        begin = -(2**63)
        while rows := list(
            self.filter(position__gte=begin).order_by("position")[:AT_ONCE]
        ):
            entry_by_number = entries.in_bulk([row.entry for row in rows])
            for row in rows:
                yield row, entry_by_number.get(row.entry)
            begin = rows[-1].position + 1


class SealedEntry(models.Model):
    """Which seal covers an entry, and the entry's hash when it was sealed, so that a
    later change or deletion of the entry is found.
    """

    entry = models.BigIntegerField(primary_key=True)
    seal = models.BigIntegerField()
    # The entry's index among all sealed entries, from 0.
    position = models.BigIntegerField(unique=True)
    hash = models.BinaryField()

    objects = SealedEntryQuerySet.as_manager()


class Anchor(models.Model):
    """A record that a seal was written to a place outside the database. If the newest
    entries and seals are deleted, that place still has the seal.

    It is signed like a seal, so that a row that was altered or put in is found.
    """

    class Kind(models.TextChoices):
        FILE = "file", "File"

    pk = models.CompositePrimaryKey("kind", "place", "seal")
    seal = models.BigIntegerField(db_index=True)
    # The signature of that seal: after a restore, another one may have its number.
    seal_signature = models.CharField(max_length=128)
    kind = models.CharField(max_length=8, choices=Kind)
    # The name of the file, and its host.
    place = models.TextField()
    reference = models.CharField(max_length=64)
    # The number of the seal that was written there before, so that a removed anchor is
    # noticed; 0 if it is the first.
    previous = models.BigIntegerField(default=0)
    at = models.DateTimeField()
    # The public key that signed the anchor, and the signature.
    key = models.CharField(max_length=64)
    signature = models.CharField(max_length=128)

    @property
    def signed_bytes(self) -> bytes:
        """The bytes under the signature."""
        names = "seal seal_signature kind place reference previous at key".split()
        fields = {name: str(getattr(self, name)) for name in names}
        return b"countersign anchor v1\n" + canonical_json(fields)


# --- Searches and checks --------------------------------------------------------------


class SavedQuerySet(models.QuerySet[_Saved]):
    def of(self, actor: Actor) -> Self:
        """Those that this person saved."""
        return (
            self.filter(person_id=actor.id) if actor.kind == "person" else self.none()
        )

    def usable_by(self, actor: Actor) -> Self:
        """Those that this person saved, then those that others share, each by name.

        Sharing gives no rights: only the query is stored, and whoever opens it sees
        what they may see.
        """
        if actor.kind != "person":
            return self.none()
        is_own = Q(person_id=actor.id)
        return (
            self.filter(is_own | Q(shared=True))
            .annotate(is_mine=is_own)
            .order_by("-is_mine", "name", "pk")
        )


class Saved(models.Model):
    """The filters of a list page, saved under a name by a person. Others can use it if
    it is shared.
    """

    # Set by subclasses: the word for it, the name of the URL of its page, and the
    # actions that the ledger records when it is saved and deleted.
    noun: str
    page: str
    saved: str
    deleted: str

    person_id: Any
    name = models.CharField(max_length=60)
    # The query string of the page.
    query = models.CharField(max_length=1000)
    shared = models.BooleanField(default=False)

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
    # The person's name; set by `audit.search.saved.searches_of`.
    owner = ""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "person_id", Lower("name"), name="saved_search_name_once"
            )
        ]


class CheckQuerySet(models.QuerySet["Check"]):
    def newest_first(self) -> Self:
        return self.order_by("-id")

    def running(self) -> Self:
        return self.filter(state=Check.State.RUNNING)

    def finished(self) -> Self:
        """Those that passed or failed."""
        return self.filter(state__in=(Check.State.HOLDS, Check.State.BROKEN))

    def latest_finished(self) -> Self:
        """The newest one that passed or failed: its result counts until the next."""
        return self.filter(
            pk=models.Subquery(Check.objects.finished().newest_first().values("pk")[:1])
        )

    def broken(self) -> Self:
        """Those that failed."""
        return self.filter(state=Check.State.BROKEN)


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
    # The number of the newest seal when the check began, so that one is covered; None
    # until a process begins.
    up_to = models.BigIntegerField(null=True)
    # What is wrong, as sentences, in the order of the ledger.
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
