"""The other tables of the policy app: the kill switch; versions of the policy's rules,
groups of people and owners of API keys, which rules name; review plans with their
calendars and ladders, and who is on duty.
"""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Lower, Now

from common.actors import Actor
from mirror.models import Connection, Mailbox
from policy.models.allowlists import Scoped, ScopedQuerySet


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


class Group(models.Model):
    """A group of people. A rule can ask for their approvals, or forbid them to approve."""

    name = models.CharField(max_length=60)
    members = models.ManyToManyField(
        settings.AUTH_USER_MODEL, related_name="policy_groups"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("name"), name="policy_group_name_once")
        ]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class PolicyVersionQuerySet(models.QuerySet["PolicyVersion"]):
    """Reads of the versions of the policy."""

    def active(self) -> Self:
        """The version in force, if there is one."""
        return self.filter(state="active")

    def draft(self) -> Self:
        """The draft, if there is one."""
        return self.filter(state="draft")

    def with_pass(self, pass_id: str) -> Self:
        """The version in force, if it has this pass, switched on."""
        switched_off = Q(passes__contains=[{"id": pass_id, "is_on": False}])
        return self.active().filter(~switched_off, passes__contains=[{"id": pass_id}])

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

    class State(models.TextChoices):
        DRAFT = "draft", "Draft"
        ACTIVE = "active", "Active"
        RETIRED = "retired", "Retired"

    number = models.PositiveIntegerField(unique=True)
    state = models.CharField(max_length=7, choices=State, default=State.DRAFT)
    # As `PolicyRule.as_json` writes them, in their order; and `Pass.as_json`.
    rules = models.JSONField(default=list)
    passes = models.JSONField(default=list)
    # By the id of a pass, the keys of the two admins who signed it as it is.
    signatures = models.JSONField(default=dict)
    # The number of the version whose rules the draft began with; 0 for none.
    based_on = models.PositiveIntegerField(default=0)
    # Each change of the draft raises it. A form that showed another number is refused.
    edits = models.PositiveIntegerField(default=0)
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
            models.CheckConstraint(
                condition=Q(state__in=["draft", "active", "retired"]),
                name="policy_version_state_known",
            ),
            models.UniqueConstraint(
                fields=["state"],
                condition=Q(state="active"),
                name="policy_version_one_active",
            ),
            models.UniqueConstraint(
                fields=["state"],
                condition=Q(state="draft"),
                name="policy_version_one_draft",
            ),
            models.CheckConstraint(
                condition=Q(state="draft") | Q(activated_at__isnull=False),
                name="policy_version_activated",
            ),
        ]


class WorkCalendar(models.Model):
    """Weekly working hours in a time zone, with holidays. `policy.calendars` computes
    with them.
    """

    name = models.CharField(max_length=60, unique=True)
    zone = models.CharField(max_length=64)
    # For each day, Monday first, a list of [begin, end] in minutes since midnight.
    weekly = models.JSONField(default=list)
    # By date: {"2026-12-25": "Christmas"}.
    holidays = models.JSONField(default=dict)

    class Meta:
        verbose_name = "calendar"

    def __str__(self) -> str:
        return self.name


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
        PERSON = "person", "a person"
        GROUP = "group", "a group"
        DESTINATIONS = "destinations", "alert destinations"

    plan = models.ForeignKey(ReviewPlan, on_delete=models.CASCADE, related_name="steps")
    basis = models.CharField(max_length=8, choices=Basis)
    # Minutes of working time after the target; negative: before it.
    minutes = models.IntegerField()
    act = models.CharField(max_length=6, choices=Act)
    whom = models.CharField(max_length=12, choices=Whom)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+"
    )
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
                condition=Q(person__isnull=False) | ~Q(whom="person"),
                name="step_names_person",
            ),
            models.CheckConstraint(
                condition=Q(group__isnull=False) | ~Q(whom="group"),
                name="step_names_group",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.basis}{self.minutes:+d} {self.act} {self.whom}{self.person_id or self.group_id or ''}"


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
