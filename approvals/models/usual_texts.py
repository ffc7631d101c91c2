"""The usual reasons and saved comments that admins write for a mailbox."""

from django.db import models

from common.postgres import one_of
from mirror.models import Mailbox


class UsualTexts(models.Model):
    """The usual reasons, or the saved comments, that admins wrote for a mailbox.
    Without a row, the built-in ones.
    """

    class Kind(models.TextChoices):
        REJECT = "reject", "Reasons to reject"
        SEND_BACK = "send_back", "Reasons to request changes"
        COMMENT = "comment", "Saved comments"

    mailbox = models.ForeignKey(
        Mailbox, on_delete=models.CASCADE, related_name="usual_texts"
    )
    kind = models.CharField(max_length=10, choices=Kind)
    # In their order: {"label": "Wrong price", "words": "The price is not the one of our
    # list."}
    texts = models.JSONField(default=list)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["mailbox", "kind"], name="usual_texts_once"
            ),
            one_of("kind", ("reject", "send_back", "comment"), "usual_texts_kind"),
        ]
