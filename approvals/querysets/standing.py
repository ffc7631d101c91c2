"""Reads of messages by where they stand. The person's reach is applied by one door."""

from typing import TYPE_CHECKING, Self

from django.apps import apps
from django.db import models
from django.db.models import Exists, F, OuterRef, Prefetch
from django.db.models.functions import Now

from approvals.querysets.reach import within_reach
from approvals.querysets.terms import CLAIM_LASTS, DONE, IN_DOUBT, LATELY
from approvals.states import LIVE_DECISIONS, DecisionState, MessageState
from people.actors import Actor

if TYPE_CHECKING:
    from approvals.models import Message  # noqa: F401 - the queryset's type parameter


def with_decision_in(*states: str) -> Exists:
    """The condition that a message has a decision in one of these states; it counts no message twice."""
    decisions = apps.get_model("approvals", "Decision").objects
    return Exists(decisions.filter(message=OuterRef("pk"), state__in=states))


def with_effect_since() -> Exists:
    """The condition that a decision took effect since the message is as it is; one from before it came back is over."""
    decisions = apps.get_model("approvals", "Decision").objects.filter(state=DecisionState.APPLIED)
    return Exists(decisions.filter(message=OuterRef("pk"), changed_at__gte=OuterRef("changed_at")))


class StandingReads(models.QuerySet["Message"]):
    """Who may see which messages, and where these stand."""

    def visible_to(self, actor: Actor) -> Self:
        """Only what the actor may see; everything else does not exist for them."""
        return self.filter(within_reach(actor))

    def awaiting_review(self) -> Self:
        """Held, and nobody has decided yet, or it came back since (relies on the partial index message_held)."""
        held = self.filter(state=MessageState.HELD)
        return held.exclude(with_decision_in(*LIVE_DECISIONS)).exclude(with_effect_since())

    def waiting_for(self, actor: Actor) -> Self:
        """What waits for this person: all that awaits review within sight, but what they have put off."""
        waiting = self.visible_to(actor).awaiting_review()
        return waiting.exclude(_put_off_by(actor)) if actor.kind == "person" else waiting

    def put_off_by(self, actor: Actor) -> Self:
        """What awaits review within sight, and what this person does not want to see before its time."""
        return self.visible_to(actor).awaiting_review().filter(_put_off_by(actor))

    def of(self, actor: Actor) -> Self:
        """What is this person's among the held: claimed by them, put off by them, or with a question to them."""
        held = self.visible_to(actor).filter(state=MessageState.HELD)
        if actor.kind != "person":
            return held.none()
        claims = apps.get_model("approvals", "Claim")._default_manager.filter(
            person=actor.id, seen_at__gt=Now() - CLAIM_LASTS
        )
        named = apps.get_model("approvals", "Comment")._default_manager.filter(mentions=actor.id)
        snoozes = apps.get_model("approvals", "Snooze")._default_manager.filter(person=actor.id, until__gt=Now())
        # By their keys: each of these lists is short, and the queue is not.
        mine = [rows.order_by().values("message") for rows in (claims, named, snoozes)]
        return held.filter(pk__in=mine[0].union(*mine[1:], all=True))

    def leaving(self) -> Self:
        """Decided here, and not yet carried out, or MultiMail has taken it and not yet told the mirror.

        Of what was taken, only what was so lately: nothing else says of a held message that it was, and all that ever
        was taken is much (relies on decision_to_do and decision_applied). Attention lists what is never told.
        """
        decisions = apps.get_model("approvals", "Decision").objects.order_by()
        going = decisions.filter(state__in=(DecisionState.RECORDED, DecisionState.CALLING))
        taken = decisions.filter(
            state=DecisionState.APPLIED,
            changed_at__gt=Now() - LATELY,
            message__state=MessageState.HELD,
            message__changed_at__lte=F("changed_at"),
        )
        return self.filter(pk__in=going.values("message").union(taken.values("message"), all=True))

    def in_doubt(self) -> Self:
        """Decided here, and what became of it is not known."""
        return self.filter(with_decision_in(*IN_DOUBT))

    def failed(self) -> Self:
        """Approved, and it did not reach the recipient."""
        return self.filter(state__in=(MessageState.FAILED, MessageState.BOUNCED))

    def decided(self) -> Self:
        """Past the desk; what was never held is history too."""
        return self.filter(state__in=DONE)

    def oldest_first(self) -> Self:
        return self.order_by("held_at", "pk")

    def for_list(self) -> Self:
        """With everything a row of the queue shows."""
        decisions = apps.get_model("approvals", "Decision").objects.select_related("given_by").order_by("-pk")
        return self.select_related("mailbox", "connection", "revision", "claim__person").prefetch_related(
            Prefetch("decisions", queryset=decisions)
        )

    def for_rows(self) -> Self:
        """As `for_list`, without the letters themselves: fifty of them are much to read for one line each."""
        return self.for_list().defer("search", "bands", "revision__content", "revision__coverage")


def _put_off_by(actor: Actor) -> Exists:
    snoozes = apps.get_model("approvals", "Snooze")._default_manager.filter(message=OuterRef("pk"), until__gt=Now())
    return Exists(snoozes.filter(person=actor.id))
