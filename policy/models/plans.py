"""Review plans, their calendars and ladders, and who is on duty."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from mirror.models import Mailbox
from policy.models.rules import Group


class WorkCalendar(models.Model):
    """Working hours: weekly, by the clock of a time zone, with holidays.
    `policy.calendars` computes with them.
    """

    name = models.CharField(max_length=60, unique=True)
    zone = models.CharField(max_length=64)
    # Monday first: for each day pairs of minutes since midnight.
    weekly = models.JSONField(default=list)
    # By date: {"2026-12-25": "Christmas"}.
    holidays = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return self.name


class ReviewPlan(models.Model):
    """How soon messages of a mailbox are to be reviewed, and what happens when they are
    not.

    The plan without a mailbox is for all that have no plan of their own.
    """

    mailbox = models.OneToOneField(
        Mailbox,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="review_plan",
    )
    # Without one, all hours count.
    calendar = models.ForeignKey(
        WorkCalendar,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="plans",
    )
    # Minutes until the first look and until the decision, by risk: {"high": [30, 120],
    # "notice": [60, null]}.
    targets = models.JSONField(default=dict, blank=True)
    # Whether each new message is assigned to those on duty in turn.
    assigns_in_turn = models.BooleanField(default=False)
    version = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["mailbox"], nulls_distinct=False, name="review_plan_once"
            )
        ]

    def __str__(self) -> str:
        return f"review plan of {self.mailbox or 'all mailboxes'}"


class LadderStep(models.Model):
    """One step of a plan's ladder: who is reminded of a late message, or gets it, and
    when.
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
    # Of working time after the target, or before it where negative.
    minutes = models.IntegerField()
    act = models.CharField(max_length=6, choices=Act)
    whom = models.CharField(max_length=12, choices=Whom)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
    )
    group = models.ForeignKey(
        Group, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
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
    """A person on duty for a mailbox, or without one for all; with a calendar, only
    while that is open.
    """

    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="duty_turns"
    )
    mailbox = models.ForeignKey(
        Mailbox,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="duty_turns",
    )
    calendar = models.ForeignKey(
        WorkCalendar,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="turns",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["person", "mailbox", "calendar"],
                nulls_distinct=False,
                name="duty_turn_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.person} on duty for {self.mailbox or 'all mailboxes'}"
