"""Every read of messages, connections and decisions. The person's reach is applied here, by one door."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from django.apps import apps
from django.db import models
from django.db.models import Exists, OuterRef, Prefetch, Q
from django.db.models.functions import Now

from approvals.states import LIVE_DECISIONS, DecisionState, MessageState, Outcome
from people.actors import Actor

if TYPE_CHECKING:
    from approvals.models import Connection, Decision, Mailbox, Message, WebhookEvent  # noqa: F401 - the querysets' type parameters

# A message that was held and is now past the desk.
DONE = tuple(state for state in MessageState if state not in (MessageState.HELD, MessageState.SCHEDULED))


# Decided here, and what became of it is not known.
IN_DOUBT = (DecisionState.UNKNOWN, DecisionState.UNATTRIBUTED, DecisionState.WITHDRAWN)

# A decision in one of these did not count in the end.
VOID = (DecisionState.UNDONE, DecisionState.REFUSED, DecisionState.SUPERSEDED, DecisionState.WITHDRAWN)
# Let go by somebody: whatever was asked of its writer before has been answered.
LET_GO = tuple(
    state
    for state in DONE
    if state not in (MessageState.REJECTED, MessageState.CANCELLED, MessageState.GONE, MessageState.RECEIVED)
)


# After so long, what happens by itself within seconds is stuck.
STUCK_AFTER = timedelta(minutes=1)
# MultiMail says within minutes that approved mail left.
WORD_AFTER = timedelta(hours=1)
# What is older has been seen, and nobody is asked about it again.
LATELY = timedelta(days=7)


# An approve in one of these can still be stopped by its expiry.
CAN_EXPIRE = (DecisionState.RECORDED, DecisionState.UNKNOWN)
EXPIRY_REST = timedelta(minutes=15)


def _with_decision_in(*states: str) -> Exists:
    """The condition that a message has a decision in one of these states; it counts no message twice."""
    decisions = apps.get_model("approvals", "Decision").objects
    return Exists(decisions.filter(message=OuterRef("pk"), state__in=states))


def within_reach(actor: Actor) -> Q:
    """The condition that keeps a query to the mailboxes the actor may see, by any of the roles."""
    if actor.sees_all():
        return Q()
    reach = Q(pk__in=[])
    for scope in actor.scopes:
        reach |= Q(mailbox_id=scope.mailbox) if scope.mailbox is not None else Q(connection_id=scope.connection)
    return reach


class MessageQuerySet(models.QuerySet["Message"]):
    """Reads of the mirror."""

    def visible_to(self, actor: Actor) -> Self:
        """Only what the actor may see; everything else does not exist for them."""
        return self.filter(within_reach(actor))

    def awaiting_review(self) -> Self:
        """Held, and nobody has decided yet (relies on the partial index message_held)."""
        return self.filter(state=MessageState.HELD).exclude(_with_decision_in(*LIVE_DECISIONS))

    def leaving(self) -> Self:
        """Decided here, not yet carried out."""
        return self.filter(_with_decision_in(DecisionState.RECORDED, DecisionState.CALLING))

    def in_doubt(self) -> Self:
        """Decided here, and what became of it is not known."""
        return self.filter(_with_decision_in(*IN_DOUBT))

    def failed(self) -> Self:
        """Approved, and it did not reach the recipient."""
        return self.filter(state__in=(MessageState.FAILED, MessageState.BOUNCED))

    def decided(self) -> Self:
        """Past the desk, newest first; what was never held is history too."""
        return self.filter(state__in=DONE)

    def oldest_first(self) -> Self:
        return self.order_by("held_at", "pk")

    def newest_first(self) -> Self:
        return self.order_by("-changed_at", "-pk")

    def held_after(self, place: tuple[datetime, int]) -> Self:
        """What follows a place in the order oldest first (keyset; relies on message_held)."""
        at, key = place
        return self.filter(Q(held_at__gt=at) | Q(held_at=at, pk__gt=key))

    def changed_before(self, place: tuple[datetime, int]) -> Self:
        """What follows a place in the order newest first (keyset; relies on message_changed)."""
        at, key = place
        return self.filter(Q(changed_at__lt=at) | Q(changed_at=at, pk__lt=key))

    def for_list(self) -> Self:
        """With everything a row of the queue shows."""
        decisions = apps.get_model("approvals", "Decision").objects.select_related("given_by").order_by("-pk")
        return self.select_related("mailbox", "connection", "revision").prefetch_related(
            Prefetch("decisions", queryset=decisions)
        )

    def past_expiry(self, *, rule: str) -> Self:
        """Held although their time is over by the database's clock, and nothing is under way that ends them.

        Where the rule's own reject was refused, it rests a while before the next (relies on message_expiry).
        """
        decisions = apps.get_model("approvals", "Decision").objects.filter(message=OuterRef("pk"))
        ended = Q(state__in=(DecisionState.APPLIED, DecisionState.SUPERSEDED))
        on_its_way = Q(state__in=LIVE_DECISIONS) & ~Q(state__in=CAN_EXPIRE, outcome=Outcome.APPROVE)
        resting = Q(rule=rule, state=DecisionState.REFUSED, changed_at__gt=Now() - EXPIRY_REST)
        over = self.filter(state=MessageState.HELD, expires_at__lte=Now()).exclude(hydrated_at=None)
        return over.exclude(Exists(decisions.filter(ended | on_its_way | resting)))

    def not_hydrated(self) -> Self:
        """Held, but the content has not been fetched yet."""
        return self.filter(state=MessageState.HELD, hydrated_at=None)

    def to_hydrate(self) -> Self:
        """Those whose connection can be asked for it."""
        well = self.not_hydrated().filter(connection__paused_at=None, connection__failing_since=None)
        return well.filter(Q(connection__wait_until=None) | Q(connection__wait_until__lte=Now()))

    def changed_since(self, at: datetime) -> Self:
        """Those that something happened to at that time or later."""
        return self.filter(changed_at__gte=at)

    def long_unread(self) -> Self:
        """Held for a while, and nobody can read them because their content has not come (message_to_hydrate)."""
        return self.not_hydrated().filter(held_at__lt=Now() - STUCK_AFTER)

    def of_event(self, event: "WebhookEvent") -> Self:
        """The message that a webhook was about; none where its body did not tell."""
        return self.filter(connection=event.connection_id, upstream_id=event.email_id)

    def overdue(self) -> Self:
        """Past their time for a while and still held, although the expiry rule should have rejected them."""
        return self.filter(state=MessageState.HELD, expires_at__lt=Now() - STUCK_AFTER)

    def without_word(self) -> Self:
        """Approved some while ago, lately, and MultiMail has not said what became of them (message_on_its_way)."""
        return self.filter(
            state=MessageState.APPROVED, changed_at__lt=Now() - WORD_AFTER, changed_at__gt=Now() - LATELY
        )


class ConnectionQuerySet(models.QuerySet["Connection"]):
    """Reads of the connected accounts."""

    def visible_to(self, actor: Actor) -> Self:
        """Only those that the actor has a role for, or for a mailbox of."""
        if actor.sees_all():
            return self
        connections = [scope.connection for scope in actor.scopes if scope.mailbox is None]
        mailboxes = [scope.mailbox for scope in actor.scopes if scope.mailbox is not None]
        return self.filter(Q(pk__in=connections) | Q(mailboxes__in=mailboxes)).distinct()

    def to_read(self) -> Self:
        """Those to reconcile: all but the ones that were asked to wait; a paused one may have a good key by now."""
        return self.filter(Q(wait_until=None) | Q(wait_until__lte=Now()))

    def unwell(self) -> Self:
        """Those that are paused, could not be read, or were not read for so long that the queue may lack messages."""
        unread = Q(complete_as_of=None, created_at__lt=Now() - STUCK_AFTER)
        old = Q(complete_as_of__lt=Now() - timedelta(minutes=10))
        return self.filter(~Q(paused_at=None) | ~Q(failing_since=None) | unread | old)

    def failing(self) -> Self:
        """Those that could not be read the last time, and are not paused."""
        return self.to_read().filter(paused_at=None).exclude(failing_since=None)


class MailboxQuerySet(models.QuerySet["Mailbox"]):
    """Reads of mailboxes."""

    def visible_to(self, actor: Actor) -> Self:
        """Only those that the actor has a role for, by themselves or with their connection."""
        if actor.sees_all():
            return self
        connections = [scope.connection for scope in actor.scopes if scope.mailbox is None]
        mailboxes = [scope.mailbox for scope in actor.scopes if scope.mailbox is not None]
        return self.filter(Q(connection__in=connections) | Q(pk__in=mailboxes))


class DecisionQuerySet(models.QuerySet["Decision"]):
    """Reads of decisions; due times and leases are judged by the database's clock."""

    def live(self) -> Self:
        """Those that still count."""
        return self.filter(state__in=LIVE_DECISIONS)

    def on(self, messages: MessageQuerySet) -> Self:
        """Those on these messages."""
        return self.filter(message__in=messages)

    def recorded_since(self, at: datetime) -> Self:
        """Those made at that time or later."""
        return self.filter(recorded_at__gte=at)

    def applied_as(self, *outcomes: str) -> Self:
        """Those that took effect, with one of these outcomes."""
        return self.filter(state=DecisionState.APPLIED, outcome__in=outcomes)

    def in_doubt(self) -> Self:
        """Those whose effect is not known."""
        return self.filter(state__in=IN_DOUBT)

    def under_lock(self) -> Self:
        """Each under a lock, in one order: whoever is ending one at this moment is waited for."""
        return self.select_related("message", "revision").select_for_update(of=("self",)).order_by("pk")

    def sent_back_between(self, since: datetime, until: datetime) -> Self:
        """Those that asked for changes and whose answer nobody has let go yet (relies on decision_sent_back)."""
        messages = apps.get_model("approvals", "Message").objects
        answered = Exists(messages.filter(answers=OuterRef("pk"), state__in=LET_GO))
        asked = self.filter(outcome=Outcome.SEND_BACK, recorded_at__gte=since, recorded_at__lte=until)
        return asked.exclude(state__in=VOID).exclude(answered)

    def to_settle(self) -> Self:
        """Those that MultiMail's word on the message can end, each under a lock."""
        return self.filter(state__in=(*LIVE_DECISIONS, DecisionState.WITHDRAWN)).under_lock()

    def withdrawn(self) -> Self:
        """Stopped when their call may have left already."""
        return self.filter(state=DecisionState.WITHDRAWN)

    def not_read_as_held(self) -> Self:
        """Approves whose call may still arrive: MultiMail was not read twice yet as holding the message."""
        return self.filter(outcome=Outcome.APPROVE, seen_held__lt=2)

    def unattributed_among(self, connection: "Connection", upstream_ids: list[str]) -> Self:
        """Those taken for decided, on messages with these ids."""
        found = self.filter(state=DecisionState.UNATTRIBUTED, message__connection=connection)
        return found.filter(message__upstream_id__in=upstream_ids)

    def due(self) -> Self:
        """Ready to be carried out now, and nothing keeps them."""
        ready = self.filter(state=DecisionState.RECORDED, due_at__lte=Now())
        return ready._on_well_connections().filter(~Exists(self._stops()))

    def _on_well_connections(self) -> Self:
        rested = Q(message__connection__wait_until=None) | Q(message__connection__wait_until__lte=Now())
        return self.filter(rested, message__connection__paused_at=None)

    @staticmethod
    def _stops() -> models.QuerySet[Any]:
        """The kill switches that stop the decision of the outer query."""
        switches: models.QuerySet[Any] = apps.get_model("policy", "KillSwitch").objects.stopping(
            connection=OuterRef("message__connection"), mailbox=OuterRef("message__mailbox")
        )
        return switches

    def abandoned(self) -> Self:
        """Their worker let the lease run out; the call may have left."""
        return self.filter(state=DecisionState.CALLING, lease_until__lt=Now())

    def visible_to(self, actor: Actor) -> Self:
        """Only those on messages that the actor may see."""
        if actor.sees_all():
            return self
        return self.filter(message__in=apps.get_model("approvals", "Message").objects.visible_to(actor))

    def with_message(self) -> Self:
        """With what a sentence about each needs."""
        return self.select_related("message__connection", "message__mailbox")

    def stalled(self) -> Self:
        """They should have been carried out a while ago, whatever keeps them (relies on decision_to_do)."""
        late = Now() - STUCK_AFTER
        return self.filter(
            Q(state=DecisionState.RECORDED, due_at__lt=late) | Q(state=DecisionState.CALLING, lease_until__lt=late)
        )

    def refused_lately(self) -> Self:
        """Not carried out, lately, with nothing decided since: held again (relies on decision_to_look_at)."""
        newer = apps.get_model("approvals", "Decision").objects.filter(
            message=OuterRef("message"), pk__gt=OuterRef("pk")
        )
        refused = self.filter(state=DecisionState.REFUSED, changed_at__gt=Now() - LATELY)
        return refused.filter(~Exists(newer), message__state=MessageState.HELD)

    def to_resolve(self) -> Self:
        """In doubt, and old enough to be looked up."""
        return self.filter(state=DecisionState.UNKNOWN, changed_at__lt=Now() - timedelta(seconds=2))


class WebhookEventQuerySet(models.QuerySet["WebhookEvent"]):
    """Reads of the webhooks as they were received."""

    def to_look_at(self) -> Self:
        """Those that could not be applied or came too late, and that nobody has dealt with."""
        return self.filter(result__in=("poison", "late"), handled_at=None)

    def visible_to(self, actor: Actor) -> Self:
        """Only those of connections that the actor has a role for whole: a body may be of any of its mailboxes."""
        if actor.sees_all():
            return self
        return self.filter(connection__in=[scope.connection for scope in actor.scopes if scope.mailbox is None])
