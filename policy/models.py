"""The tables of the policy: versions of its rules and passes; groups of people, lists and
owners of API keys, which rules name; whether each gate has the recipients that rules
allow; the kill switch; review plans with their calendars and ladders, and who is on
duty.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Self, TypeVar

from django.conf import settings
from django.db import models
from django.db.models import Count, F, Q
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce, Lower, Now
from django.urls import reverse
from django.utils import timezone

from audit.models import Entry
from common.actors import Actor, Role
from common.mail_addresses import clean_address, patterns_for
from common.postgres import one_of
from mirror.models import Connection, Mailbox
from mirror.models.connections import takes_policy
from people.second_admin.registry import is_second_admin_on
from policy.errors import seen_state

# Longer than the two calls of one attempt may take together, so that a row is pushed
# by one worker at a time. Two would do no harm: the gate takes one of two lists that
# were written on the basis of the same version.
PUSH_TIME = timedelta(seconds=90)
# The end of an entry that has none.
ENDLESS = datetime.max.replace(tzinfo=UTC)


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
        return self.filter(
            Q(connection=None, mailbox=None)
            | Q(connection__in=Connection.objects.visible_to(actor))
            | Q(mailbox__in=Mailbox.objects.visible_to(actor))
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


class Named(models.Model):
    """What rules name: it has a name that no other of its kind looks like, and admins of
    everything change it.
    """

    name = models.CharField(max_length=60)

    # The kind of `Names`.
    kind: ClassVar[str]

    class Meta:
        abstract = True
        constraints = [
            models.UniqueConstraint(Lower("name"), name="policy_%(class)s_name_once")
        ]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def is_changed_by(self, actor: Actor) -> bool:
        """Whether the actor may change it."""
        return actor.is_admin_of_all


class AllowlistQuerySet(ScopedQuerySet["Allowlist"]):
    """Reads of the allowlists."""

    def at_work(self) -> Self:
        """Those of connections that were not removed, with what they are for."""
        remaining = self.filter(
            connection__removed_at=None, mailbox__connection__removed_at=None
        )
        return remaining.select_related("connection", "mailbox__connection")

    def for_overview(self) -> Self:
        """By name, each with the `number` of its entries."""
        named = self.at_work().select_related("changed_by").order_by(Lower("name"))
        return named.annotate(number=Count("entries"))


class Allowlist(Scoped, Named):
    """A named set of addresses and domains. It is for all mail, one connection or one
    mailbox: whoever has a role there sees it, and admins there change it.

    Each change raises `version`.
    """

    version = models.PositiveIntegerField(default=1)
    changed_at = models.DateTimeField(db_default=Now())
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    kind = "lists"
    whole = "all mail"
    objects = AllowlistQuerySet.as_manager()

    class Meta:
        constraints = [*Named.Meta.constraints, *Scoped.Meta.constraints]

    def is_changed_by(self, actor: Actor) -> bool:
        return self.is_within(actor, Role.ADMIN)

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

    def bring(self) -> None:
        """Note that the gates may lack a change of the policy or of a list. The sweep
        has them pushed within seconds.
        """
        self.update(due_at=Now(), attempts=0)

    def to_push(self) -> Self:
        """Those to push to their gate now. Connections without an admin key are left
        out: there only the desk refuses recipients.
        """
        pushable = self.filter(
            takes_policy("mailbox__connection__"),
            due_at__lte=Now(),
            mailbox__is_active=True,
            mailbox__connection__removed_at=None,
        )
        return pushable.exclude(mailbox__connection__admin_key="").order_by("due_at")

    def claim(self, pk: int) -> "GateList | None":
        """Claim one row for one attempt, and return it; None if it is not due, or
        another worker has claimed it.
        """
        is_claimed = (
            self.to_push()
            .filter(pk=pk)
            .update(due_at=Now() + PUSH_TIME, attempts=F("attempts") + 1)
        )
        rows = self.select_related("mailbox__connection")
        return rows.get(pk=pk) if is_claimed else None

    def for_page(self, actor: Actor) -> Self:
        """Those of mailboxes that the actor sees, with their connections, by mailbox."""
        named = self.select_related("mailbox__connection").filter(
            mailbox__in=Mailbox.objects.visible_to(actor).at_work()
        )
        return named.order_by("mailbox__address", "mailbox")


class GateList(models.Model):
    """Whether the gate of one mailbox has the recipients that the policy allows."""

    mailbox = models.OneToOneField(
        Mailbox, on_delete=models.CASCADE, related_name="gate_list"
    )
    # When the gate gets what it may lack; null if it lacks nothing. Each change of the
    # policy or of a list sets it anew.
    due_at = models.DateTimeField(null=True, db_default=Now(), db_index=True)
    # The version number that the gate gave the list it has.
    gate_version = models.PositiveIntegerField(default=0)
    # What was put there last, as a hash, also if no answer came.
    put = models.CharField(max_length=64)
    pushed_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField()

    objects = GateListQuerySet.as_manager()


class KillSwitchQuerySet(ScopedQuerySet["KillSwitch"]):
    """Reads of the kill switch."""

    def pulled(self) -> Self:
        """Those that are not released."""
        return self.filter(released_at=None)

    def stopping(self, *, connection: object, mailbox: object) -> Self:
        """The pulled switches that stop a message of this connection and mailbox. Both
        are primary keys, or expressions of a query.

        A message whose mailbox is not known may belong to any mailbox of its
        connection, so a switch of any of these stops it.
        """
        everything = Q(connection=None, mailbox=None)
        if mailbox is None:
            this_mailbox = Q(mailbox__connection=connection)
        else:
            this_mailbox = Q(
                mailbox__connection=connection, mailbox=Coalesce(mailbox, F("mailbox"))
            )
        return self.pulled().filter(
            everything | Q(connection=connection) | this_mailbox
        )

    def visible_to(self, actor: Actor) -> Self:
        """The pulled switches that stop something that the actor sees, newest first."""
        named = self.pulled().select_related("pulled_by", "connection", "mailbox")
        return super(KillSwitchQuerySet, named).visible_to(actor).order_by("-pulled_at")


class KillSwitch(Scoped):
    """One pull of the kill switch, for everything, a connection or a mailbox. It is in
    effect until `released_at` is set.
    """

    reason = models.TextField()
    pulled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    pulled_at = models.DateTimeField(db_default=Now())
    released_at = models.DateTimeField(null=True)

    objects = KillSwitchQuerySet.as_manager()

    class Meta(Scoped.Meta):
        constraints = [
            *Scoped.Meta.constraints,
            models.UniqueConstraint(
                fields=["connection", "mailbox"],
                condition=Q(released_at=None),
                nulls_distinct=False,
                name="kill_switch_once",
            ),
        ]

    def __str__(self) -> str:
        return f"kill switch for {self.scope}"


class KeyOwner(models.Model):
    """The person to whom the program with an API key belongs, and who may not approve
    the messages that it sends.
    """

    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="key_owners"
    )
    upstream_key_id = models.CharField(max_length=200)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "upstream_key_id"], name="key_owner_once"
            )
        ]


def key_owners(
    keys: Collection[str],
) -> "models.QuerySet[KeyOwner, tuple[int, str, int]]":
    """Return connection, key and person of each who owns one of these API keys: the
    person whom an admin named; and, where changes need a second admin, whoever made it,
    who was shown its text. Elsewhere one person may run the desk and its agents.
    """
    named = KeyOwner.objects.filter(upstream_key_id__in=keys).values_list(
        "connection_id", "upstream_key_id", "person_id"
    )
    if not is_second_admin_on():
        return named
    made = Entry.objects.of_action("api_key.created").filter(
        actor_kind="person", detail__fields__key__in=keys
    )
    key = KeyTextTransform("key", "detail__fields")
    person = Cast("actor_id", models.BigIntegerField())
    return named.union(made.values_list("connection", key, person))


class Group(Named):
    """A group of people. A rule can ask for their approvals, or forbid them to approve."""

    kind = "groups"
    members = models.ManyToManyField(
        settings.AUTH_USER_MODEL, related_name="policy_groups"
    )


class PolicyVersionQuerySet(models.QuerySet["PolicyVersion"]):
    """Reads of the versions of the policy."""

    def active(self) -> Self:
        """The version in force, if there is one."""
        return self.filter(state="active")

    def activated(self) -> Self:
        """Those that are or were active, the newest first, with who wrote and activated
        them.
        """
        named = self.exclude(state="draft").select_related("author", "activated_by")
        return named.order_by("-activated_at", "-number")


class PolicyVersion(models.Model):
    """One version of the policy, its rules and passes: the draft, the active version, or
    one that was active before.

    A database trigger refuses changes to number, rules and passes of a version that is
    no draft. If no version is active, every message needs one approval of any reviewer.
    """

    number = models.PositiveIntegerField(unique=True)
    state = models.CharField(max_length=7, default="draft")
    # As `PolicyRule.as_json` writes them, in their order; and `Pass.as_json`.
    rules = models.JSONField(default=list)
    passes = models.JSONField(default=list)
    # By the id of a pass, the keys of the two admins who signed it as it is.
    signatures = models.JSONField(default=dict)
    note = models.TextField()
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    changed_at = models.DateTimeField(db_default=Now())
    activated_at = models.DateTimeField(null=True)
    activated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    retired_at = models.DateTimeField(null=True)

    objects = PolicyVersionQuerySet.as_manager()

    class Meta:
        constraints = [
            one_of(
                "state", ["draft", "active", "retired"], "policy_version_state_known"
            ),
            *(
                models.UniqueConstraint(
                    fields=["state"],
                    condition=Q(state=state),
                    name=f"policy_version_one_{state}",
                )
                for state in ("active", "draft")
            ),
            models.CheckConstraint(
                condition=Q(state="draft") | Q(activated_at__isnull=False),
                name="policy_version_activated",
            ),
        ]

    @property
    def seen(self) -> str:
        """The state of the draft that forms send back; each change makes another."""
        return seen_state(f"{self.number} {self.changed_at.timestamp()}")


class WorkCalendar(Named):
    """Weekly working hours in a time zone, with holidays. `policy.calendars` computes
    with them.
    """

    kind = "calendars"
    zone = models.CharField(max_length=64)
    # For each day, Monday first, a list of [begin, end] in minutes since midnight.
    weekly = models.JSONField(default=list)
    # By date: {"2026-12-25": "Christmas"}.
    holidays = models.JSONField(default=dict)

    class Meta(Named.Meta):
        verbose_name = "calendar"


class ReviewPlan(models.Model):
    """How soon messages of a mailbox should be looked at and decided, and what happens
    if they are not.

    The plan without a mailbox is for all mailboxes that have no plan of their own.
    """

    mailbox = models.OneToOneField(
        Mailbox, null=True, on_delete=models.CASCADE, related_name="review_plan"
    )
    # The hours in which time counts; without a calendar, all hours.
    calendar = models.ForeignKey(
        WorkCalendar, null=True, on_delete=models.PROTECT, related_name="plans"
    )
    # Minutes until the first look and until the decision, by risk: {"high": [30, 120],
    # "notice": [60, null]}.
    targets = models.JSONField(default=dict)
    # Whether new messages are assigned to the people on duty in turn.
    assigns_in_turn = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["mailbox"], nulls_distinct=False, name="review_plan_once"
            )
        ]


class LadderStep(models.Model):
    """One step of a plan's ladder: at what time who is reminded of a message, or gets
    it assigned.
    """

    class Basis(models.TextChoices):
        LOOK = "look", "first look"
        DECISION = "decision", "decision"

    class Act(models.TextChoices):
        REMIND = "remind", "Remind"
        ASSIGN = "assign", "Assign to"

    class Whom(models.TextChoices):
        HOLDER = "holder", "whoever has it, otherwise those on duty"
        DUTY = "duty", "those on duty"
        GROUP = "group", "a group"
        DESTINATIONS = "destinations", "alert destinations"

    plan = models.ForeignKey(ReviewPlan, on_delete=models.CASCADE, related_name="steps")
    basis = models.CharField(max_length=8, choices=Basis)
    # Minutes of working time after the target; negative: before it.
    minutes = models.IntegerField()
    act = models.CharField(max_length=6, choices=Act)
    whom = models.CharField(max_length=12, choices=Whom)
    group = models.ForeignKey(
        Group, null=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ["basis", "minutes", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(act="assign", whom__in=("destinations", "holder")),
                name="step_assigns_to_people",
            ),
            models.CheckConstraint(
                condition=Q(group__isnull=False) | ~Q(whom="group"),
                name="step_names_group",
            ),
        ]

    def __str__(self) -> str:
        return (
            f"{self.basis}{self.minutes:+d} {self.act} {self.whom}{self.group_id or ''}"
        )


class DutyTurn(models.Model):
    """A person on duty for a mailbox, or without a mailbox for all of them; with a
    calendar, only within its hours.
    """

    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="duty_turns"
    )
    mailbox = models.ForeignKey(
        Mailbox, null=True, on_delete=models.CASCADE, related_name="duty_turns"
    )
    calendar = models.ForeignKey(
        WorkCalendar, null=True, on_delete=models.PROTECT, related_name="turns"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["person", "mailbox", "calendar"],
                nulls_distinct=False,
                name="duty_turn_once",
            )
        ]
