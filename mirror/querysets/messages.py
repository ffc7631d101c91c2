"""Every read of the mirror but those of the queue."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Now

from common.grace import STUCK_AFTER, WORD_AFTER
from common.postgres.rows import Answer, run
from mirror.querysets.sent import SentReads
from mirror.querysets.terms import DONE, FETCH_TRIES, LATELY, ON_ITS_WAY
from mirror.querysets.visible_scope import within_reach
from mirror.states import MessageState
from people.actors import Actor

if TYPE_CHECKING:
    from mirror.models import Message, WebhookEvent


class MessageQuerySet(SentReads):
    """Reads of the mirror."""

    def visible_to(self, actor: Actor) -> Self:
        """Only what the actor may see; everything else does not exist for them."""
        return self.filter(within_reach(actor))

    def failed(self) -> Self:
        """Approved, and it did not reach the recipient."""
        return self.filter(state__in=(MessageState.FAILED, MessageState.BOUNCED))

    def decided(self) -> Self:
        """Past the desk; what was never held is history too."""
        return self.filter(state__in=DONE)

    def oldest_first(self) -> Self:
        return self.order_by("held_at", "pk")

    def with_content(self) -> Self:
        """With the current version and the mailbox."""
        return self.select_related("revision", "mailbox")

    def not_hydrated(self) -> Self:
        """Held, but the content has not been fetched yet."""
        return self.filter(state=MessageState.HELD, hydrated_at=None)

    def to_hydrate(self) -> Self:
        """Those whose connection can be asked for it, and that are not left alone."""
        return self.not_hydrated().filter(fetch_tries__lt=FETCH_TRIES)._on_well_connections()

    def _on_well_connections(self) -> Self:
        rested = Q(connection__wait_until=None) | Q(connection__wait_until__lte=Now())
        return self.filter(rested, connection__paused_at=None, connection__failing_since=None)

    def unfetchable(self) -> Self:
        """Held, with a content that could not be stored in several tries and is left alone (message_unfetchable)."""
        return self.filter(state=MessageState.HELD, fetch_tries__gte=FETCH_TRIES)

    def to_ask_about(self) -> Self:
        """Those whose next event is late, and that MultiMail can be asked about.

        After a minute, 5 minutes, half an hour, then every 6 hours for a month. Of mail that left, only delivery can
        still come, and from many mail servers it never does: it is asked about thrice, within an hour, and so is mail
        past the desk whose subject nothing told. That hour bounds how much of message_changed is read; the other states
        have message_on_its_way.
        """
        first = Q(asked_at=None) | Q(asked_at__lt=F("changed_at"))
        again = Q(asked_at__lt=Now() - timedelta(hours=6))
        for since, wait in ((timedelta(minutes=3), timedelta(minutes=5)), (timedelta(minutes=30),) * 2):
            again |= Q(asked_at__lt=F("changed_at") + since) & Q(asked_at__lt=Now() - wait)
        unnamed = Q(state__in=DONE, hydrated_at=None, subject="")
        left = Q(state=MessageState.SENT) | unnamed
        left &= Q(changed_at__gt=Now() - timedelta(hours=1))
        left &= first | Q(asked_at__lt=F("changed_at") + timedelta(minutes=30))
        waits = Q(state__in=ON_ITS_WAY, changed_at__gt=Now() - timedelta(days=30))
        can_be_asked = Q(connection__is_our_gateway=True) | Q(direction="outbound") & ~Q(connection__read_key="")
        found = self.filter(left | waits, first | again, can_be_asked, changed_at__lt=Now() - timedelta(minutes=1))
        # What has left already comes last.
        return found._on_well_connections().order_by(
            Case(When(state=MessageState.SENT, then=1), default=0), "changed_at"
        )

    def changed_since(self, at: datetime) -> Self:
        """Those that something happened to at that time or later."""
        return self.filter(changed_at__gte=at)

    def long_unread(self) -> Self:
        """Held for a while, and nobody can read them because their content has not come (message_to_hydrate)."""
        return self.not_hydrated().filter(held_at__lt=Now() - STUCK_AFTER, fetch_tries__lt=FETCH_TRIES)

    def of_event(self, event: "WebhookEvent") -> Self:
        """The message that a webhook was about; none where its body did not tell."""
        return self.filter(connection=event.connection_id, upstream_id=event.email_id)

    def come_or_left(self, states: Collection[str]) -> Self:
        """Those in one of these states, and received mail that is held: it has come all the same."""
        return self.filter(Q(state__in=states) | Q(direction="inbound", state=MessageState.HELD))

    def in_thread(self, mailbox: int, thread_id: str) -> Self:
        """Those of one conversation of one mailbox (relies on the partial index message_thread)."""
        return self.filter(mailbox=mailbox, thread_id=thread_id).exclude(thread_id="")

    def in_threads_of(self, messages: "Sequence[Message]") -> Self:
        """Those of the conversations that these belong to, without what they say (message_thread)."""
        places = {(one.mailbox_id, one.thread_id) for one in messages if one.thread_id and one.mailbox_id}
        either = [Q(mailbox=mailbox, thread_id=thread) for mailbox, thread in places]
        return self.filter(reduce(or_, either)).exclude(thread_id="") if either else self.none()

    def overdue(self) -> Self:
        """Past their time for a while and still held, although the expiry rule should have rejected them."""
        return self.filter(state=MessageState.HELD, expires_at__lt=Now() - STUCK_AFTER)

    def without_word(self) -> Self:
        """Approved some while ago, lately, and MultiMail has not said what became of them (message_on_its_way)."""
        return self.filter(
            state=MessageState.APPROVED, changed_at__lt=Now() - WORD_AFTER, changed_at__gt=Now() - LATELY
        )

    def for_event(self) -> Self:
        """With what an event needs to know, without the content and without the account's keys."""
        return self.select_related("mailbox", "revision").defer("revision__content", "revision__findings")

    def ask_if_known(self, connection: int, upstream_id: str) -> Answer:
        """Lock the message of this id, for statements that travel together; the cursor has a row where it is known.

        Without the key, as `store.lock_message` does it (relies on message_once).
        """
        sql = "SELECT id FROM mirror_message WHERE connection_id = %s AND upstream_id = %s FOR NO KEY UPDATE"
        return run(sql, [connection, upstream_id])


_Manager = models.Manager.from_queryset(MessageQuerySet)


class MessageManager(_Manager):  # type: ignore[type-arg]
    """Leaves out what only the database itself reads: the words of a letter may take more room than all the rest."""

    def get_queryset(self) -> MessageQuerySet:
        """Return all messages, without what is searched."""
        return super().get_queryset().defer("search", "bands")  # type: ignore[return-value]
