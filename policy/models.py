"""The tables of allowlists, the kill switch and rules. What follows from them is in `evaluation` and `rules`."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower, Now
from django.urls import reverse

import policy.standing_models  # noqa: F401 - its tables are of this app
from policy.querysets import (
    AllowChangeQuerySet,
    AllowEntryQuerySet,
    AllowlistQuerySet,
    GateListQuerySet,
    GateRefusalQuerySet,
    KillSwitchQuerySet,
    PolicyVersionQuerySet,
)


class KillSwitch(models.Model):
    """One pull of the kill switch: for everything, a connection or a mailbox. A row without an end is pulled."""

    # PROTECT: deleting a stopped connection or mailbox would delete its switch too.
    connection = models.ForeignKey("mirror.Connection", null=True, blank=True, on_delete=models.PROTECT)
    mailbox = models.ForeignKey("mirror.Mailbox", null=True, blank=True, on_delete=models.PROTECT)
    reason = models.TextField()
    pulled_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    pulled_at = models.DateTimeField(db_default=Now())
    released_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    released_at = models.DateTimeField(null=True, blank=True)

    objects = KillSwitchQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "mailbox"],
                condition=models.Q(released_at=None),
                nulls_distinct=False,
                name="kill_switch_once",
            ),
            models.CheckConstraint(
                condition=models.Q(connection=None) | models.Q(mailbox=None), name="kill_switch_one_scope"
            ),
        ]

    def __str__(self) -> str:
        return f"kill switch for {self.mailbox or self.connection or 'everything'}"


class Allowlist(models.Model):
    """One list of one scope. A restriction says who may be written to; a bypass whose mail need not wait (at the gate).

    `version` is raised by each change; a change based on an older one is refused.
    """

    class Kind(models.TextChoices):
        RESTRICTION = "restriction", "Restriction"
        BYPASS = "bypass", "Bypass"

    class Mode(models.TextChoices):
        OFF = "off", "Off"
        MONITOR = "monitor", "Monitor"
        CONTACTS = "contacts", "Contacts"
        ENFORCE = "enforce", "Enforce"

    # Neither: for all mail.
    connection = models.ForeignKey("mirror.Connection", null=True, blank=True, on_delete=models.CASCADE)
    mailbox = models.ForeignKey("mirror.Mailbox", null=True, blank=True, on_delete=models.CASCADE)
    kind = models.CharField(max_length=12, choices=Kind)
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.OFF)
    version = models.PositiveIntegerField(default=0)
    changed_at = models.DateTimeField(db_default=Now())
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    objects = AllowlistQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "mailbox", "kind"], nulls_distinct=False, name="allowlist_once"
            ),
            models.CheckConstraint(
                condition=models.Q(connection=None) | models.Q(mailbox=None), name="allowlist_one_scope"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=["restriction", "bypass"]), name="policy_allowlist_kind_known"
            ),
            models.CheckConstraint(
                condition=models.Q(mode__in=["off", "monitor", "contacts", "enforce"]),
                name="policy_allowlist_mode_known",
            ),
            models.CheckConstraint(
                condition=~models.Q(kind="bypass", mode="contacts"), name="policy_allowlist_contacts_only_restricts"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} for {self.mailbox or self.connection or 'all'}"

    @property
    def label(self) -> str:
        """Whom it is for, in words."""
        return str(self.mailbox or self.connection or "all mail")

    @property
    def scope(self) -> str:
        """How a URL names whom it is for."""
        if self.mailbox_id is not None:
            return f"mailbox-{self.mailbox_id}"
        return "all" if self.connection_id is None else f"connection-{self.connection_id}"

    @property
    def url(self) -> str:
        """The address of its page."""
        return reverse("allowlist", args=[self.scope, self.kind])

    @property
    def is_bypass(self) -> bool:
        """Whether it says whose mail need not wait, and not who may be written to."""
        return self.kind == self.Kind.BYPASS


class AllowEntry(models.Model):
    """Whom a list names, in the form of `common.patterns.read_pattern`. A removed one stays, with its hits."""

    allowlist = models.ForeignKey(Allowlist, on_delete=models.CASCADE, related_name="entries")
    pattern = models.CharField(max_length=254)
    note = models.CharField(max_length=300, blank=True)
    # Who answers for it, and is asked when it ends.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    added_at = models.DateTimeField(db_default=Now())
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    removed_at = models.DateTimeField(null=True, blank=True)
    # Messages that it let through, each counted once.
    hits = models.PositiveIntegerField(default=0)
    last_hit_at = models.DateTimeField(null=True, blank=True)

    objects = AllowEntryQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["allowlist", "pattern"], condition=models.Q(removed_at=None), name="allow_entry_once"
            ),
        ]
        indexes = [
            # For the ruling: finds the lists that name an address, whatever their length.
            models.Index(fields=["pattern"], condition=models.Q(removed_at=None), name="allow_entry_pattern"),
            models.Index(fields=["expires_at"], condition=models.Q(removed_at=None), name="allow_entry_end"),
        ]

    def __str__(self) -> str:
        return self.pattern


class AllowChange(models.Model):
    """One change of a list: of its mode, or of one entry, with what it was before and after."""

    class What(models.TextChoices):
        MODE = "mode", "Mode"
        ADDED = "added", "Added"
        CHANGED = "changed", "Changed"
        REMOVED = "removed", "Removed"

    allowlist = models.ForeignKey(Allowlist, on_delete=models.CASCADE, related_name="changes")
    entry = models.ForeignKey(AllowEntry, null=True, blank=True, on_delete=models.CASCADE, related_name="changes")
    version = models.PositiveIntegerField()
    what = models.CharField(max_length=8, choices=What)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=Now())

    objects = AllowChangeQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["allowlist", "-id"], name="allow_change_of_list")]

    def __str__(self) -> str:
        return f"{self.what} in version {self.version}"


class GateList(models.Model):
    """What the gate of one mailbox has of its lists of one kind, and what it should have.

    `wanted` is raised by each change that concerns the mailbox; where `pushed` is less, the gate does not have it yet.
    """

    mailbox = models.ForeignKey("mirror.Mailbox", on_delete=models.CASCADE, related_name="gate_lists")
    kind = models.CharField(max_length=12, choices=Allowlist.Kind)
    wanted = models.PositiveIntegerField(default=1)
    pushed = models.PositiveIntegerField(default=0)
    # The gate's own number of what it has.
    gate_version = models.PositiveIntegerField(default=0)
    pushed_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    lease_until = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)

    objects = GateListQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["mailbox", "kind"], name="gate_list_once")]
        indexes = [
            models.Index(
                fields=["next_attempt_at"], condition=models.Q(pushed__lt=models.F("wanted")), name="gate_list_to_push"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} at the gate of {self.mailbox}"


class GateRefusal(models.Model):
    """Mail that the gate refused before anything was queued, because of an allowlist. It has no body and no subject."""

    connection = models.ForeignKey("mirror.Connection", on_delete=models.CASCADE, related_name="refusals")
    mailbox = models.ForeignKey(
        "mirror.Mailbox", null=True, blank=True, on_delete=models.SET_NULL, related_name="refusals"
    )
    upstream_id = models.CharField(max_length=200)
    recipients = models.JSONField(default=list)
    refused = models.JSONField(default=list)
    rule = models.CharField(max_length=300, blank=True)
    sent_by_key = models.CharField(max_length=200, blank=True)
    sent_by_key_name = models.CharField(max_length=200, blank=True)
    trigger = models.JSONField(default=dict)
    sandbox = models.BooleanField(default=False)
    refused_at = models.DateTimeField()

    objects = GateRefusalQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "upstream_id"], name="gate_refusal_once")]
        indexes = [models.Index(fields=["-refused_at", "-id"], name="gate_refusal_newest")]

    def __str__(self) -> str:
        return ", ".join(self.refused[:3])


class WorkCalendar(models.Model):
    """Working hours: weekly, by the clock of a time zone, with holidays. `calendars.opening` computes with them."""

    name = models.CharField(max_length=60, unique=True)
    zone = models.CharField(max_length=64)
    # Monday first: for each day pairs of minutes since midnight.
    weekly = models.JSONField(default=list)
    # By date: {"2026-12-25": "Christmas"}.
    holidays = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return self.name


class ReviewPlan(models.Model):
    """How soon messages of a mailbox are to be reviewed, and what happens when they are not.

    The plan without a mailbox is for all that have no plan of their own.
    """

    mailbox = models.OneToOneField(
        "mirror.Mailbox", null=True, blank=True, on_delete=models.CASCADE, related_name="review_plan"
    )
    # Without one, all hours count.
    calendar = models.ForeignKey(WorkCalendar, null=True, blank=True, on_delete=models.PROTECT, related_name="plans")
    # Minutes until the first look and until the decision, by risk: {"high": [30, 120], "notice": [60, null]}.
    targets = models.JSONField(default=dict, blank=True)
    # Whether each new message is assigned to those on duty in turn.
    assigns_in_turn = models.BooleanField(default=False)
    version = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["mailbox"], nulls_distinct=False, name="review_plan_once")]

    def __str__(self) -> str:
        return f"review plan of {self.mailbox or 'all mailboxes'}"


class LadderStep(models.Model):
    """One step of a plan's ladder: who is reminded of a late message, or gets it, and when."""

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
    # Of working time after the target, or before it where negative.
    minutes = models.IntegerField()
    act = models.CharField(max_length=6, choices=Act)
    whom = models.CharField(max_length=12, choices=Whom)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    group = models.ForeignKey("Group", null=True, blank=True, on_delete=models.CASCADE, related_name="+")

    class Meta:
        ordering = ["basis", "minutes", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(act="assign", whom__in=("destinations", "holder")), name="step_assigns_to_people"
            ),
            models.CheckConstraint(
                condition=models.Q(person__isnull=False) | ~models.Q(whom="person"), name="step_names_person"
            ),
            models.CheckConstraint(
                condition=models.Q(group__isnull=False) | ~models.Q(whom="group"), name="step_names_group"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.basis}{self.minutes:+d} {self.act} {self.whom}{self.person_id or self.group_id or ''}"


class DutyTurn(models.Model):
    """A person on duty for a mailbox, or without one for all; with a calendar, only while that is open."""

    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="duty_turns")
    mailbox = models.ForeignKey(
        "mirror.Mailbox", null=True, blank=True, on_delete=models.CASCADE, related_name="duty_turns"
    )
    calendar = models.ForeignKey(WorkCalendar, null=True, blank=True, on_delete=models.PROTECT, related_name="turns")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["person", "mailbox", "calendar"], nulls_distinct=False, name="duty_turn_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.person} on duty for {self.mailbox or 'all mailboxes'}"


class KeyOwner(models.Model):
    """The owner of the program with an API key; that person may not approve what it sends."""

    connection = models.ForeignKey("mirror.Connection", on_delete=models.CASCADE, related_name="key_owners")
    upstream_key_id = models.CharField(max_length=200)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "upstream_key_id"], name="key_owner_once")]

    def __str__(self) -> str:
        return f"{self.upstream_key_id} of {self.person}"


class Group(models.Model):
    """People whose approval a rule can ask for, or who may not give it."""

    name = models.CharField(max_length=60)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="policy_groups", blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(Lower("name"), name="policy_group_name_once")]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class PolicyVersion(models.Model):
    """One version of the rules: a draft that can still be changed, the active one, or one that was.

    A trigger keeps number and rules as they are once it is no draft. Without an active version one approval of any
    reviewer is needed.
    """

    class State(models.TextChoices):
        DRAFT = "draft", "Draft"
        ACTIVE = "active", "Active"
        RETIRED = "retired", "Retired"

    number = models.PositiveIntegerField(unique=True)
    state = models.CharField(max_length=7, choices=State, default=State.DRAFT)
    # As `PolicyRule.as_json` writes them, in their order.
    rules = models.JSONField(default=list)
    # The number of the version that it was begun from; 0 for none.
    based_on = models.PositiveIntegerField(default=0)
    # Raised by each change of a draft: a form that saw another number is refused.
    edits = models.PositiveIntegerField(default=0)
    note = models.TextField(blank=True)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    changed_at = models.DateTimeField(db_default=Now())
    activated_at = models.DateTimeField(null=True, blank=True)
    activated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    retired_at = models.DateTimeField(null=True, blank=True)

    objects = PolicyVersionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["draft", "active", "retired"]), name="policy_version_state_known"
            ),
            models.UniqueConstraint(
                fields=["state"], condition=models.Q(state="active"), name="policy_version_one_active"
            ),
            models.UniqueConstraint(
                fields=["state"], condition=models.Q(state="draft"), name="policy_version_one_draft"
            ),
            models.CheckConstraint(
                condition=models.Q(state="draft") | models.Q(activated_at__isnull=False),
                name="policy_version_activated",
            ),
        ]

    def __str__(self) -> str:
        return f"version {self.number}"
