"""What people keep of the ledger: searches by a name, exports, and what the desk's own checks found."""

import uuid
from datetime import datetime, timedelta
from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now


class SavedSearch(models.Model):
    """A named address of the ledger's search. A shared one is everybody's to use who may read the ledger."""

    person = models.BigIntegerField()
    name = models.CharField(max_length=60)
    # The query string in its one spelling.
    query = models.CharField(max_length=1000)
    shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint("person", Lower("name"), name="saved_search_name_once")]
        indexes = [models.Index(fields=["shared"], condition=Q(shared=True), name="saved_search_shared")]

    def __str__(self) -> str:
        return self.name


class ExportQuerySet(models.QuerySet["Export"]):
    """Reads of the exports."""

    def newest_first(self) -> Self:
        return self.order_by("-asked_at", "pk")

    def running(self) -> Self:
        return self.filter(state=Export.State.RUNNING)

    def still_for(self, age: timedelta) -> Self:
        """Those that have not moved for so long."""
        return self.filter(changed_at__lt=Now() - age)

    def readable_by(self, actor: Any, *, all_of_them: bool) -> Self:
        """One's own, or those of everybody."""
        return self if all_of_them else self.filter(person=int(actor.id))

    def before(self, asked_at: datetime) -> Self:
        """Those that were asked for earlier: the next page."""
        return self.filter(asked_at__lt=asked_at)


class Export(models.Model):
    """One export: what was asked for, how far it is, and what left."""

    class State(models.TextChoices):
        ASKED = "asked", "Asked for"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        BROKEN_OFF = "broken_off", "Broken off"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    person = models.BigIntegerField()
    query = models.CharField(max_length=1000, blank=True)
    format = models.CharField(max_length=8)
    state = models.CharField(max_length=12, choices=State, default=State.ASKED)
    # Which entries it holds: those that this snapshot of PostgreSQL sees.
    snapshot = models.TextField(blank=True)
    rows_total = models.BigIntegerField(null=True)
    rows_done = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    asked_at = models.DateTimeField(db_default=Now())
    changed_at = models.DateTimeField(db_default=Now())

    objects = ExportQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["person", "asked_at"], name="export_of_person")]

    def __str__(self) -> str:
        return f"{self.format} export {self.state}"


class CheckQuerySet(models.QuerySet["Check"]):
    """Reads of the looks through the whole ledger."""

    def newest_first(self) -> Self:
        return self.order_by("-id")

    def running(self) -> Self:
        return self.filter(state=Check.State.RUNNING)

    def told(self) -> Self:
        """Those that came to an end and said something."""
        return self.filter(state__in=(Check.State.HOLDS, Check.State.BROKEN))

    def standing(self) -> Self:
        """The newest of those: what it said stands until the next."""
        return self.filter(pk=models.Subquery(Check.objects.told().newest_first().values("pk")[:1]))

    def broken(self) -> Self:
        """Those that found what does not hold."""
        return self.filter(state=Check.State.BROKEN)

    def since(self, age: timedelta) -> Self:
        """Those that began no longer ago than that."""
        return self.filter(started_at__gt=Now() - age)

    def still_for(self, age: timedelta) -> Self:
        """Those of which nothing was heard for so long."""
        return self.filter(moved_at__lt=Now() - age)


class Check(models.Model):
    """One look through the whole ledger, from its first leaf to the newest seal."""

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        HOLDS = "holds", "Holds"
        BROKEN = "broken", "Does not hold"
        ENDED = "ended", "Did not end"

    # Who asked for it; empty where the desk looked by itself.
    asked_by = models.BigIntegerField(null=True)
    state = models.CharField(max_length=8, choices=State, default=State.RUNNING)
    entries = models.BigIntegerField(default=0)
    seals = models.BigIntegerField(default=0)
    # The newest seal when it began, and so up to which it looked at least; empty until somebody begins.
    up_to = models.BigIntegerField(null=True)
    # What does not hold, in sentences, the first of them first.
    findings = models.JSONField(default=list)
    started_at = models.DateTimeField(db_default=Now())
    # When whoever looks last said how far it is.
    moved_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    objects = CheckQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["state"], condition=Q(state="running"), name="one_check_at_a_time")
        ]

    def __str__(self) -> str:
        return f"check {self.state}"
