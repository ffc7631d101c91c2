"""Every read of corrected messages that people sent in place of held ones."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from common.actors import Actor
from common.grace import STUCK_AFTER
from mirror.models import Message
from mirror.states import LIVE_DECISIONS, MessageState
from mirror.terms import LATELY

if TYPE_CHECKING:
    from approvals.models import Replacement

_OPEN = ("sending", "sent")
# MultiMail forgets an idempotency key after 24 hours: docs/multimail.md.
REPEAT_FOR = timedelta(hours=20)


class ReplacementQuerySet(QuerySet["Replacement"]):
    """Reads of replacements; leases and due times are judged by the database's clock."""

    def that_made(self, *, upstream_ids: Sequence[str], references: Sequence[str]) -> Self:
        """Those whose new message has one of these ids, or names a reference while no id is known yet."""
        named = Q(reference__in=references, upstream_id="")
        return self.filter(Q(upstream_id__in=upstream_ids) | named).order_by("pk")

    def move(self, row: "Replacement", *, to: str, **fields: Any) -> bool:
        """Give a row another state, if nobody else has since it was read; return whether that was so."""
        changes = {"state": to, **fields}
        return bool(self.filter(pk=row.pk, state=row.state).update(**changes))

    def open(self) -> Self:
        """Those that are being sent, or whose first message is still to be rejected."""
        return self.filter(state__in=_OPEN)

    def free(self) -> Self:
        """Those that no worker has."""
        return self.filter(Q(lease_until=None) | Q(lease_until__lt=Now()))

    def due(self) -> Self:
        """Those that a worker can go on with now (relies on replacement_to_do)."""
        arrived = Message.objects.filter(connection=OuterRef("connection"), upstream_id=OuterRef("upstream_id"))
        to_note = Q(state="done", noted_at=None) & Exists(arrived)
        rested = Q(connection__wait_until=None) | Q(connection__wait_until__lte=Now())
        ready = self.free().filter(rested, connection__paused_at=None, next_attempt_at__lte=Now())
        return ready.filter(Q(state__in=_OPEN) | to_note)

    def visible_to(self, actor: Actor) -> Self:
        """Only those of messages that the actor may see."""
        if actor.sees_all():
            return self
        return self.filter(message__in=Message.objects.visible_to(actor))

    def left_half(self) -> Self:
        """Those after which both messages are held, or may be: a person finishes them, or a worker should have.

        Relies on replacement_recent, and on replacement_to_do for older ones.
        """
        made = Message.objects.filter(connection=OuterRef("connection"), upstream_id=OuterRef("upstream_id"))
        dropped = Exists(made.filter(state__in=(MessageState.REJECTED, MessageState.CANCELLED)))
        newer = self.model.objects.filter(message=OuterRef("message"), pk__gt=OuterRef("pk"))
        half = Q(state__in=("sent", "done", "unknown")) | Q(state="sending", called_at__lt=Now())
        stuck = Q(state="sending", created_at__lt=Now() - STUCK_AFTER)
        recent = self.free().filter(Q(created_at__gt=Now() - LATELY) | Q(state__in=_OPEN))
        both = recent.filter(half | stuck, ~dropped, ~Exists(newer), message__state=MessageState.HELD)
        return both.exclude(message__decisions__state__in=LIVE_DECISIONS)
