"""What admins and reviewers set: the kill switch. Rules over it are in `ruling` and `kill_switch`."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from policy.querysets import KillSwitchQuerySet


class KillSwitch(models.Model):
    """One pull of the kill switch: for everything, a connection or a mailbox. A row without an end is pulled."""

    # What is stopped is not deleted: with its switch would go who stopped it and why, and then nothing stops its mail.
    connection = models.ForeignKey("approvals.Connection", null=True, blank=True, on_delete=models.PROTECT)
    mailbox = models.ForeignKey("approvals.Mailbox", null=True, blank=True, on_delete=models.PROTECT)
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
