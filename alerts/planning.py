"""Which deliveries an act asks for: adds the rows, in the caller's transaction, and finds acts that got none."""

import json
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from alerts.models import Card, Delivery, Route
from audit.models import Entry
from common.logs import trace_id, traced
from common.postgres.rows import Answer, run, run_apart, travels_together

# How far back acts are looked at again, and how long their own planning may take.
LOOK_BACK, PATIENCE = timedelta(minutes=10), timedelta(seconds=10)

# A held card waits this long for the content, so that one post tells the fingerprint and the risk too.
CONTENT_PAUSE = timedelta(seconds=1)
# What turns a card that is there. Fetching the content is left out: the pause gives it time, and an edit would cost a
# request. Which of these make a card where there is none, a destination's routes say.
CARD_ACTIONS = (
    "message.held",
    "message.changed",
    "message.named",
    "message.approved",
    "message.released",
    "message.rejected",
    "message.sent",
    "message.delivered",
    "message.bounced",
    "message.complained",
    "message.failed",
    "message.cancelled",
    "message.gone",
    "decision.recorded",
    "decision.undone",
    "decision.applied",
    "decision.refused",
    "decision.superseded",
    "decision.without_effect",
    "decision.unknown",
    "decision.unattributed",
    "decision.found_again",
    "decision.confirmed",
    "decision.withdrawn",
    "decision.left_after_all",
)
# What makes no card whatever a route says: it tells of what is long past, which is no alert.
ONLY_TURNS = ("message.named",)


# Cards first, always in one order: two acts on one message lock the same deliveries. A delivery that waits is locked,
# so that no worker takes it, and builds the card from before this act, until this act is there. Relies on one_card, on
# the index of a card's deliveries, and on there being few destinations.
_PLAN = """
WITH destination AS MATERIALIZED (
    SELECT id, EXISTS (
        SELECT FROM alerts_route route WHERE route.destination_id = alerts_destination.id
        AND route.actions @> %(action_listed)s::jsonb
        AND (route.connection_id IS NULL OR route.connection_id = %(connection)s)
        AND (route.mailbox_id IS NULL OR route.mailbox_id = (
            SELECT mailbox_id FROM approvals_message WHERE public_id = %(message)s
        ))
    ) AND %(makes_card)s AS makes FROM alerts_destination
    WHERE switched_off_at IS NULL AND kind IN ('discord_webhook', 'discord_bot') ORDER BY id
), message AS MATERIALIZED (
    SELECT id FROM approvals_message WHERE public_id = %(message)s
), made_card AS (
    INSERT INTO alerts_card (destination_id, message_id, about, discord_message_id, removed, status_shown)
    SELECT destination.id, message.id, '', '', false, '' FROM destination, message WHERE makes
    ON CONFLICT DO NOTHING RETURNING id, destination_id
), card AS MATERIALIZED (
    SELECT id, destination_id FROM made_card UNION ALL
    SELECT card.id, destination_id FROM alerts_card card, message
    WHERE card.message_id = message.id AND destination_id IN (SELECT id FROM destination)
), waiting AS MATERIALIZED (
    SELECT delivery.id, delivery.card_id FROM alerts_delivery delivery
    WHERE delivery.card_id IN (SELECT id FROM card) AND delivery.state = 'due'
    ORDER BY delivery.card_id, delivery.id FOR UPDATE
), made AS (
    INSERT INTO alerts_delivery (kind, destination_id, card_id, message_id, entry, action, trace, state, attempts,
        last_error, next_attempt_at, event_id, request, answer)
    SELECT 'card', card.destination_id, card.id, message.id, %(entry)s, %(action)s, %(trace)s, 'due', 0,
        '', statement_timestamp() + %(pause)s, '', '', '' FROM card, message
    WHERE NOT EXISTS (SELECT FROM waiting WHERE waiting.card_id = card.id) ORDER BY card.id
    RETURNING id
)
SELECT EXISTS (SELECT FROM destination WHERE makes AND id NOT IN (SELECT destination_id FROM card)),
       ARRAY(SELECT id FROM made UNION ALL SELECT id FROM waiting)
"""


class Planned:
    """What an act asks for, planned in the caller's transaction; `deliveries` are the rows to nudge."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._answer = self._ask()
        if not travels_together() and self._answer.row()[0]:
            # Another act made the same card at this moment: this statement could not see it, the next one can. Acts on
            # a message that is only just being made, which is what travels together, have no rival.
            self._answer = self._ask()

    @property
    def deliveries(self) -> list[int]:
        """The keys of the deliveries that should be tried, once the statement has been answered."""
        return list(self._answer.row()[1])

    def _ask(self) -> Answer:
        pause = CONTENT_PAUSE if self.entry.action == "message.held" else timedelta(0)
        parameters = {
            "entry": self.entry.pk,
            "action": self.entry.action,
            "action_listed": json.dumps([self.entry.action]),
            "connection": self.entry.connection,
            "message": self.entry.message,
            "trace": trace_id.get(),
            "pause": pause,
            "makes_card": self.entry.action not in ONLY_TURNS,
        }
        return run(_PLAN, parameters) if travels_together() else run_apart(_PLAN, parameters)


def plan_missed() -> int:
    """Plan what a mistake kept from being planned when it happened; return how many acts that were."""
    making = Q(pk__in=[])
    for route in Route.objects.filter(destination__switched_off_at=None):
        acts = Q(action__in=set(route.actions) - set(ONLY_TURNS))
        making |= acts if route.connection_id is None else acts & Q(connection=route.connection_id)
    turning = Exists(Card.objects.filter(message__public_id=OuterRef("message"), destination__switched_off_at=None))
    covered = Delivery.objects.filter(message__public_id=OuterRef("message")).filter(
        Q(state__in=(Delivery.State.DUE, Delivery.State.SENDING))
        | Q(created_at__gte=OuterRef("at"))
        | Q(last_attempt_at__gte=OuterRef("at"))
    )
    lately = Entry.objects.filter(at__gt=Now() - LOOK_BACK, at__lt=Now() - PATIENCE, action__in=CARD_ACTIONS)
    planned = 0
    for entry in lately.exclude(message=None).filter(making | turning).exclude(Exists(covered)).order_by("id")[:200]:
        with transaction.atomic(), traced(entry.trace):
            planned += bool(Planned(entry).deliveries)
    return planned
