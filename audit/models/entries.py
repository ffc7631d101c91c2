"""The ledger: entries that nobody can change, and their personal details, which retention may remove.

Nothing here points to other tables: an entry must outlive what it tells of.
"""

from collections.abc import Iterable
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Any, Self

from audit.search.beginnings import beginnings
from audit.search.kinds import actions_of
from django.apps import apps
from django.contrib.postgres.indexes import BrinIndex, GinIndex, HashIndex, OpClass
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Now

from audit.actions import ACTIONS
from audit.fields import TransactionIdField
from audit.search.filters import Filters
from common.words import BY, TO, asked


class HasWords(Func):
    """Whether an entry's details are found by these words, written as PostgreSQL reads a tsquery."""

    template = "%(expressions)s::tsquery"
    arg_joiner = " @@ "
    output_field = models.BooleanField()

    def __init__(self, words: str, *, column: str = "detail__words") -> None:
        super().__init__(F(column), Value(words, output_field=models.CharField()))


def words_asked(filters: Filters) -> str:
    """Return all words that the filters look up, as PostgreSQL reads them; empty for none."""
    labelled = ((filters.text, ""), (filters.to, TO), (filters.by, BY))
    return " & ".join(filter(None, (asked(text, label) for text, label in labelled)))


class EntryQuerySet(models.QuerySet["Entry"]):
    """Reads of the ledger."""

    def newest_first(self) -> Self:
        return self.order_by("-id")

    def oldest_first(self) -> Self:
        return self.order_by("id")

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

    def telling(self) -> Self:
        """Without the steps in between, and what another entry of the same act tells already."""
        steps = ("message.fetched", "message.served", "decision.recorded", "decision.calling", "decision.applied")
        return self.exclude(action__in=(*steps, "alert.delivered"))

    def of_person(self, person: int) -> Self:
        """What one person did, through whatever."""
        return self.filter(actor_kind="person", actor_id=str(person))

    def of_action(self, action: str) -> Self:
        return self.filter(action=action)

    def matching(self, filters: Filters) -> Self:
        """Only what the filters ask for (relies on the indexes of each field; of times, on their BRIN)."""
        kind, _, key = filters.actor.partition("/")
        equal = {
            "actor_kind": kind,
            "actor_id": key,
            "surface": filters.surface,
            "connection": filters.connection,
            "message": filters.message,
            "at__gte": filters.begins,
            "at__lt": filters.ends,
        }
        found = self.filter(**{name: value for name, value in equal.items() if value})
        if filters.action:
            actions = actions_of(filters.action)
            found = found.filter(action=actions[0]) if len(actions) == 1 else found.filter(action__in=actions)
        if filters.fingerprint:
            forms = [Q(fingerprint__startswith=one) for one in beginnings(filters.fingerprint)]
            # Said once more as the index says it.
            found = found.filter(reduce(or_, forms), ~Q(fingerprint=""))
        if filters.trace:
            found = found.filter(~Q(trace=""), trace__startswith=filters.trace)
        words = words_asked(filters)
        return found.filter(HasWords(words)) if words else found

    def since(self, age: timedelta) -> Self:
        """Entries no older than that."""
        return self.filter(at__gte=Now() - age)

    def readable_by(self, actor: Any) -> Self:
        """What the actor may read: everything within reach of a role; acts outside any mailbox only by a role for all.

        Entries keep no mailbox, so a role for single mailboxes reads entries through its messages.
        """
        if actor.sees_all():
            return self
        mirror: Any = apps.get_model("mirror", "Message")._default_manager
        messages = mirror.visible_to(actor)
        return self.filter(message__in=messages.values("public_id"))


class Entry(models.Model):
    """One act: who, when, through what, on what. It holds no personal text; `detail_hashes` commit to the details."""

    id = models.BigIntegerField(primary_key=True)
    xid = TransactionIdField()
    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=16)
    actor_id = models.CharField(max_length=64)
    surface = models.CharField(max_length=16)
    action = models.CharField(max_length=40)
    connection = models.BigIntegerField(null=True)
    message = models.UUIDField(null=True)
    fingerprint = models.CharField(max_length=64, blank=True)
    trace = models.CharField(max_length=64, blank=True)
    detail_hashes = models.JSONField(default=dict)
    # What became of something, where the action alone does not say it; unlike details it is never removed.
    outcome = models.CharField(max_length=16, blank=True, default="", db_default="")
    # Shows that the desk wrote it: a code over what it says, with a key that the database does not have (audit.macs).
    mac = models.CharField(max_length=64, blank=True, default="", db_default="")
    leaf_hash = models.CharField(max_length=64)

    objects = EntryQuerySet.as_manager()

    class Meta:
        indexes = [
            # The trace of one message, in order.
            models.Index(fields=["message", "id"], name="entry_message"),
            # Entries arrive in the order of time, so a range of time is a range of blocks, and of numbers: with both,
            # the few that stand elsewhere are found at once.
            BrinIndex(fields=["at", "id"], name="entry_at_brin"),
            # What is to be sealed next, in the order in which it is.
            models.Index(fields=["xid", "id"], name="entry_to_seal"),
            # The newest of each kind, however rare it is.
            models.Index(fields=["action", "id"], name="entry_action"),
            models.Index(fields=["actor_kind", "actor_id", "id"], name="entry_actor"),
            models.Index(fields=["surface", "id"], name="entry_surface"),
            models.Index(fields=["connection", "id"], name="entry_connection"),
            # Found by what is copied from elsewhere, also by its beginning.
            models.Index(
                OpClass("fingerprint", "varchar_pattern_ops"), condition=~Q(fingerprint=""), name="entry_fingerprint"
            ),
            models.Index(OpClass("trace", "varchar_pattern_ops"), condition=~Q(trace=""), name="entry_trace"),
            # Who was refused a verdict lately, for the home page: few among many.
            models.Index(fields=["at"], condition=Q(action="verdict.refused"), name="entry_refused"),
            # Whether a code was used before.
            HashIndex(fields=["mac"], name="entry_mac"),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.action}"

    @property
    def sentence(self) -> str:
        """What happened, to be read after the name of who did it."""
        return ACTIONS.get(self.action, self.action)


class EntryDetail(models.Model):
    """The personal part of an entry. Removing it leaves the entry verifiable, because the salt goes with it."""

    entry = models.OneToOneField(Entry, primary_key=True, on_delete=models.DO_NOTHING, related_name="detail")
    salt = models.BinaryField()
    fields = models.JSONField(default=dict)
    # The words that it is found by: its own, and those of the message it tells of.
    words = SearchVectorField(null=True)

    class Meta:
        # No append should ever have to put away more than this many kilobytes of others.
        indexes = [GinIndex(fields=["words"], name="entrydetail_words", gin_pending_list_limit=1024)]

    def __str__(self) -> str:
        return f"details of {self.entry_id}"
