"""The tables of cards (posts in a channel), of deliveries (what is due at a
destination, with its attempts), of acts that wait to be planned, and of interactions
(what people did under cards, or typed as a command, and is answered).
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from alerts.models.destinations import Destination
from common.encryption import EncryptedTextField
from common.grace import STUCK_AFTER
from mirror.models import Message
from notices.models import Notice
from outgoing.models import Delivery as CourierDelivery
from outgoing.models import DeliveryQuerySet as CourierDeliveryQuerySet
from people.models import ChatService, Person

# In seconds, until a decision made in a browser is planned. Mostly it was carried out
# by then, which the same post shows; until then it can mostly be undone.
UNDO_PAUSE = 7.0


class Card(models.Model):
    """The one card of a message at a destination, or of something that is no message,
    which `about` names: also of a digest, one post in place of many cards.
    """

    destination = models.ForeignKey(Destination, on_delete=models.CASCADE)
    message = models.ForeignKey(
        Message, null=True, on_delete=models.CASCADE, related_name="cards"
    )
    # Such as "connection/4", or "digest/17"; empty for a message.
    about = models.CharField(max_length=80)
    # The digest that shows it, if it has no post of its own.
    digest = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="cards"
    )
    # The id of its post: Discord's id, or Slack's time stamp. Empty if there is no post
    # yet, or the service gave it no id.
    post_id = models.CharField(max_length=32)
    made_at = models.DateTimeField(db_default=Now())
    # A person deleted the post: it is not posted again.
    removed = models.BooleanField(default=False)
    # The key of the version of the message that it showed last.
    revision_shown = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["destination", "message"], name="one_card"),
            models.UniqueConstraint(
                fields=["destination", "about"],
                condition=~Q(about=""),
                name="one_card_about",
            ),
            models.CheckConstraint(
                condition=Q(message__isnull=False, about="")
                | (Q(message=None) & ~Q(about="")),
                name="card_is_about_one_thing",
            ),
            models.CheckConstraint(
                condition=Q(digest=None) | Q(post_id=""), name="one_place_a_card"
            ),
        ]

    @property
    def is_digest(self) -> bool:
        """Whether it stands for many cards."""
        return self.about.startswith("digest/")


class DeliveryQuerySet(CourierDeliveryQuerySet):
    def overdue(self) -> Self:
        """Deliveries that should have been tried a while ago, at destinations that need
        not wait.
        """
        return (
            self.in_turn()
            .due()
            .filter(next_attempt_at__lt=Now() - STUCK_AFTER)
            .exclude(destination__waits_until__gt=Now() - STUCK_AFTER)
        )

    def unfinished(self) -> Self:
        """Deliveries that are neither delivered nor given up."""
        return self.filter(state__in=("due", "sending"))

    def release(self) -> None:
        """Make notices due that were claimed and not handed over. If their worker is
        alive, it will not hand them over any more.
        """
        claimed = self.filter(kind="notice", state="sending", may_have_left=False)
        claimed.update(state="due", lease_until=None)

    def in_turn(self) -> Self:
        """Deliveries that wait for no other one. An event waits for the earlier ones
        about the same message; a card on a digest is sent with the digest.
        """
        earlier = Delivery.objects.unfinished().filter(
            destination=OuterRef("destination"),
            message=OuterRef("message"),
            kind="event",
            pk__lt=OuterRef("pk"),
        )
        return self.exclude(Exists(earlier), kind="event").exclude(
            kind="card", card__digest__isnull=False
        )

    def dead_lately(self) -> Self:
        """Deliveries that were given up in the last 24 hours."""
        return self.filter(
            state="failed", last_attempt_at__gt=Now() - timedelta(hours=24)
        )

    def for_list(self, actor: Any) -> Self:
        """Deliveries about messages that the actor may see, newest first, with all that
        a row of a list shows.
        """
        # Requests and answers are long, and only the page of one delivery shows them.
        deliveries = (
            self.select_related("destination__owner", "message")
            .defer("request", "answer")
            .order_by("-pk")
        )
        if actor.sees_all():
            return deliveries
        return deliveries.filter(message__in=Message.objects.visible_to(actor))

    def for_log(self, actor: Any, filters: Mapping[str, Any]) -> Self:
        """Deliveries that match the filters and that the actor may see, newest first."""
        deliveries = self.for_list(actor)
        for name, value in filters.items():
            deliveries = deliveries.filter(
                **{"pk__lt" if name == "before" else name: value}
            )
        return deliveries


class UnplannedActQuerySet(models.QuerySet["UnplannedAct"]):
    def left_behind(self) -> Self:
        """Acts whose task was probably lost, in the order of the ledger."""
        pause = timedelta(seconds=UNDO_PAUSE)
        return self.filter(recorded_at__lt=Now() - pause).order_by("pk")


class UnplannedAct(models.Model):
    """An act in the ledger whose deliveries are not planned yet. The row is made in the
    transaction of the act, and deleted when the act was planned.
    """

    # The key of the act's entry.
    entry = models.BigIntegerField(primary_key=True)
    recorded_at = models.DateTimeField(db_default=Now())
    # The key of the person whom the act is about, if it is about one.
    person = models.BigIntegerField(null=True)

    objects = UnplannedActQuerySet.as_manager()


class Delivery(CourierDelivery):
    """One thing to deliver to a destination: a card, an event, a notice to its owner, or
    a mention. What a card or a mail shows is built when it is sent.
    """

    class Kind(models.TextChoices):
        CARD = "card", "Card"
        EVENT = "event", "Event"
        NOTICE = "notice", "Notice"
        MENTION = "mention", "Mention"

    kind = models.CharField(max_length=8, choices=Kind, default=Kind.CARD)
    destination = models.ForeignKey(
        Destination, on_delete=models.CASCADE, related_name="deliveries"
    )
    card = models.ForeignKey(
        Card, null=True, on_delete=models.CASCADE, related_name="deliveries"
    )
    message = models.ForeignKey(
        Message, null=True, on_delete=models.CASCADE, related_name="deliveries"
    )
    notice = models.ForeignKey(
        Notice, null=True, on_delete=models.CASCADE, related_name="deliveries"
    )
    # The act that caused it, by the key of its entry in the ledger.
    entry = models.BigIntegerField(null=True)
    action = models.CharField(max_length=40)
    # The last request and its answer, for the log. All attempts of an event have the
    # same id and request.
    event_id = models.CharField(max_length=64)
    request = models.TextField()
    answer = models.TextField()
    # Whether quiet hours do not put it off.
    in_quiet_time = models.BooleanField(default=False, db_default=False)
    # Set just before a mail is handed over: if the worker dies then, it may have left.
    may_have_left = models.BooleanField(default=False, db_default=False)
    # When request and answer were removed because the message was erased.
    erased_at = models.DateTimeField(null=True)

    objects = DeliveryQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        indexes = [
            # Deliveries that were given up: few among many.
            models.Index(
                fields=["id"], condition=Q(state="failed"), name="delivery_dead"
            ),
            # For the worker: all deliveries that are due.
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(state__in=("due", "sending")),
                name="delivery_to_do",
            ),
            # For one destination: the next delivery.
            models.Index(
                fields=["destination", "id"],
                condition=Q(state__in=("due", "sending")),
                name="delivery_to_do_there",
            ),
        ]
        constraints = [
            # An act is delivered to a destination once, however often it is planned.
            models.UniqueConstraint(
                fields=["destination", "entry"],
                condition=Q(kind__in=("event", "mention")),
                name="told_once",
            ),
            models.UniqueConstraint(
                fields=["destination", "notice"], name="notice_once_a_way"
            ),
            models.CheckConstraint(
                condition=Q(kind="card", card__isnull=False)
                | Q(kind="event", card=None)
                | Q(kind="notice", notice__isnull=False, card=None)
                | Q(kind="mention", message__isnull=False, card=None),
                name="delivery_is_of_its_kind",
            ),
        ]

    def joined(self) -> DeliveryQuerySet:
        """The other deliveries that this one makes too: of a digest, those of the cards
        on it; of a notice or a mention, those of the same person and cause.
        """
        if self.notice is not None:
            return Delivery.objects.filter(
                destination=self.destination_id,
                notice__cause=self.notice.cause,
                notice__person=self.notice.person_id,
            ).exclude(pk=self.pk)
        if self.card is not None and self.card.is_digest:
            return Delivery.objects.filter(card__digest=self.card_id)
        return Delivery.objects.none()

    def claimed_with_it(self) -> DeliveryQuerySet:
        """Those that were claimed for the same attempt."""
        return self.joined().filter(
            state=self.State.SENDING, lease_until=self.lease_until
        )

    def with_others(self) -> list[Self]:
        """This delivery, and those that were claimed for the same attempt."""
        others = self.claimed_with_it().select_related("message").order_by("pk")
        return [self, *others]

    def hand_over(self) -> bool:
        """Mark this attempt as one that may have left; return False if another worker
        has claimed it since.
        """
        own = Delivery.objects.filter(
            pk=self.pk, state=self.State.SENDING, lease_until=self.lease_until
        )
        return bool((own | self.claimed_with_it()).update(may_have_left=True))

    def _finish(self, **fields: Any) -> bool:
        fields["may_have_left"] = False
        self.claimed_with_it().update(lease_until=None, last_attempt_at=Now(), **fields)
        # Not stored before: if the message was erased meanwhile, this attempt has lost
        # its claim, and does not bring the text back.
        return super()._finish(
            request=self.request, answer=self.answer, event_id=self.event_id, **fields
        )

    @property
    def ledger_subject(self) -> dict[str, Any]:
        """The arguments of `audit.recording.record` that name the delivery's message;
        empty if it has none.
        """
        return self.message.ledger_subject if self.message else {}

    @property
    def is_tried_again(self) -> bool:
        """Whether an attempt failed and another one follows. To be asked to wait is no
        failure.
        """
        return (
            self.state == self.State.DUE and self.attempts > 0 and bool(self.last_error)
        )


class Interaction(CourierDelivery):
    """One signed interaction of a chat service: a press of a button, a form, or a
    command. It is stored by the service's id, so that it is processed once. While it is
    due, its answer has not been sent.

    The services accept answers for a limited time. After that, or once it is answered,
    its token and options are deleted.
    """

    class Kind(models.TextChoices):
        PRESS = "press", "Button"
        FORM = "form", "Form"
        COMMAND = "command", "Command"

    service = models.CharField(max_length=8, choices=ChatService)
    external_id = models.CharField(max_length=128)
    kind = models.CharField(max_length=8, choices=Kind)
    # The name of a command; of a button or a form, its kind.
    name = models.CharField(max_length=40)
    # As ChatAccount.account_id has it.
    user_id = models.CharField(max_length=64)
    user_name = models.CharField(max_length=100)
    channel_name = models.CharField(max_length=100)
    channel_id = models.CharField(max_length=32)
    server_id = models.CharField(max_length=32)
    person = models.ForeignKey(Person, null=True, on_delete=models.SET_NULL)
    # What was typed or pressed, as JSON; encrypted, because it may be the text of a
    # mail.
    options = EncryptedTextField()
    # With it the service accepts the answer.
    token = EncryptedTextField()
    # How it ended, in a word or two.
    outcome = models.CharField(max_length=40)
    # The answer, as JSON. A press that Discord sends again gets the same answer, and
    # has no other effect.
    answer = EncryptedTextField()

    class Meta:
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(state__in=("due", "sending")),
                name="interaction_to_do",
            ),
            # Interactions of the last minutes, whose answer is still stored.
            models.Index(
                fields=["created_at"],
                condition=~Q(answer=""),
                name="interaction_answered",
            ),
            # For counting an account's recent refusals.
            models.Index(
                fields=["service", "user_id", "created_at"],
                name="interaction_of_account",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["service", "external_id"], name="interaction_once"
            )
        ]
