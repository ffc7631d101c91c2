"""What people leave at a message while it waits, and how they like to look at the queue. Nothing here decides."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now

from approvals.querysets.collaboration import ClaimQuerySet, CommentQuerySet, QuestionQuerySet, SnoozeQuerySet
from approvals.querysets.saved_views import SavedViewQuerySet
from mirror.models.messages import Message


class Claim(models.Model):
    """Who has taken a message on. It says so to others and keeps nobody from deciding."""

    message = models.OneToOneField(Message, on_delete=models.CASCADE, related_name="claim")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="claims")
    claimed_at = models.DateTimeField(db_default=Now())
    # When its holder last had the message on screen; an idle claim is over by itself.
    seen_at = models.DateTimeField(db_default=Now())

    objects = ClaimQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.person} has it"


class Snooze(models.Model):
    """Hides a message from one person's list for a while; everybody else still sees it."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="snoozes")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="snoozes")
    until = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())

    objects = SnoozeQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message", "person"], name="snooze_once")]
        indexes = [models.Index(fields=["person", "until"], name="snooze_of_person")]

    def __str__(self) -> str:
        return f"until {self.until:%H:%M}"


class Comment(models.Model):
    """What somebody said to colleagues about a message. It never leaves the desk, and never changes."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="comments")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="comments")
    text = models.TextField()
    mentions = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="mentioned_in", blank=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = CommentQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["message", "created_at"], name="comment_of_message")]

    def __str__(self) -> str:
        return f"{self.person}: {self.text[:40]}"


class Question(models.Model):
    """A mention that waits for an answer of the person. Answered ones are deleted, so that this table stays short."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="questions")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="questions")
    comment = models.ForeignKey(Comment, on_delete=models.CASCADE, related_name="questions")

    objects = QuestionQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["person", "message"], name="question_once")]

    def __str__(self) -> str:
        return f"{self.person} is asked"


class SavedView(models.Model):
    """A named address of the queue: its filters and its order. A shared one is everybody's to use."""

    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views")
    name = models.CharField(max_length=60)
    # The queue's query string in its one canonical spelling.
    query = models.CharField(max_length=1000)
    shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    objects = SavedViewQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint("person", Lower("name"), name="saved_view_name_once")]
        indexes = [models.Index(fields=["shared"], condition=Q(shared=True), name="saved_view_shared")]

    def __str__(self) -> str:
        return self.name


class RuleWeight(models.Model):
    """The points that admins give a published risk rule instead of its own; without points, it counts as published."""

    rule = models.CharField(max_length=40, unique=True)
    points = models.PositiveSmallIntegerField(null=True)
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    changed_at = models.DateTimeField(db_default=Now())
    # Up to where, oldest first, what is held has been weighed anew; empty: all of it has.
    weighed_to = models.DateTimeField(null=True)
    weighed_to_key = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(points__lte=100), name="rule_weight_points")]

    def __str__(self) -> str:
        return f"{self.rule}: {self.points}"
