"""Plans deliveries from what the ledger records, in the same transaction; nobody calls this app to announce things."""

import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction

from alerts import tasks
from alerts.channels import card_kinds
from alerts.ledger_events import BRAKE, ENDS, EVENTS, HELD, about_key
from alerts.models.destinations import one_spelling
from audit.models import Entry
from common.logs import trace_id
from common.postgres.rows import Answer, run, run_apart

log = logging.getLogger(__name__)

# A held card waits this long for the content, so that one post shows the fingerprint and the risk too.
CONTENT_PAUSE = timedelta(seconds=1)
# Content that arrives later edits a card that shows nothing of it, and so has no buttons.
FETCHED = "message.fetched"
# What changes an existing card. A destination's routes say which of these make a new one.
CARD_ACTIONS = (
    "message.held",
    FETCHED,
    "message.changed",
    "message.named",
    "message.expiring",
    "message.late",
    "message.extended",
    "message.assigned",
    "message.approved",
    "message.released",
    "message.rejected",
    "message.sent",
    "message.delivered",
    "message.bounced",
    "message.complained",
    "message.failed",
    "message.cancelled",
    "practice.ended",
    "message.gone",
    "approval.recorded",
    "verdict.taken_back",
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
    "claim.taken",
    "claim.released",
)
# What makes no card whatever a route says: the content, what is long past, who claimed a message, or an end.
UPDATES_ONLY = (
    *(FETCHED, "message.named", "message.extended", "message.assigned", "claim.taken", "claim.released"),
    *ENDS,
)
# Alerts' own actions are not among these; otherwise each delivery would cause another one.
PLANNED_ACTIONS = frozenset((*CARD_ACTIONS, *ENDS, *(action for event in EVENTS for action in event.actions)))
# What is answered in the channel whose command started the message.
ANSWERED = ("message.approved", "message.rejected", "message.delivered", "message.bounced", "message.failed")

_ANSWERS = one_spelling("answers_channel")
_STARTED_IN = one_spelling("subject.trigger ->> 'discord_channel'")
_STARTED_IN_ID = one_spelling("subject.trigger ->> 'discord_channel_id'")

# Cards first, always in one order: two acts on one message lock the same deliveries. A due delivery is locked, so that
# no worker claims it and builds the card from before this act, until this act is committed. Relies on one_card,
# one_card_about and told_once, on the index of a card's deliveries, and on there being few destinations. A route of a
# mailbox includes acts of its connection; a refusal names its mailbox in its details alone. A message of a flood has no
# card: the flood has one.
_PLAN = f"""
WITH subject AS MATERIALIZED (
    SELECT message.id, message.trigger,
      EXISTS (SELECT FROM approvals_review WHERE message_id = message.id AND brake_id IS NOT NULL) AS in_flood,
      COALESCE(message.mailbox_id, (
        SELECT mailbox.id FROM mirror_mailbox mailbox JOIN audit_entrydetail detail ON detail.entry_id = %(entry)s
        WHERE %(about)s <> '' AND mailbox.connection_id = %(connection)s
        AND mailbox.address = detail.fields ->> 'mailbox' LIMIT 1
    )) AS mailbox_id
    FROM (SELECT 1) AS one LEFT JOIN mirror_message message ON message.public_id = %(message)s::uuid
    WHERE message.id IS NOT NULL OR %(about)s <> ''
), destination AS MATERIALIZED (
    SELECT target.id, failures, kind = ANY(%(card_kinds)s::text[]) AS has_cards, EXISTS (
        SELECT FROM alerts_route route WHERE route.destination_id = target.id
        AND (route.actions @> %(action_listed)s::jsonb OR (
            %(also_listed)s <> '' AND kind = ANY(%(card_kinds)s::text[])
            AND route.actions @> nullif(%(also_listed)s, '')::jsonb
        ))
        AND (route.connection_id IS NULL OR route.connection_id = %(connection)s)
        AND (route.mailbox_id IS NULL OR route.mailbox_id = subject.mailbox_id OR (
            %(about)s LIKE 'connection/%%' AND EXISTS (
                SELECT FROM mirror_mailbox mailbox
                WHERE mailbox.id = route.mailbox_id AND mailbox.connection_id = %(connection)s
            )
        ))
    ) AND %(makes)s AS asks,
        %(answered)s AND answers_channel <> '' AND {_ANSWERS} IN ({_STARTED_IN}, {_STARTED_IN_ID}) AS answers,
        %(answered)s AND answers_channel <> ''
            AND coalesce(nullif(channel, ''), nullif(posts_in, '')) IN ({_STARTED_IN}, {_STARTED_IN_ID}) AS posts_there
    FROM alerts_destination target, subject WHERE switched_off_at IS NULL ORDER BY target.id
), made_card AS (
    INSERT INTO alerts_card (destination_id, message_id, about, discord_message_id, removed)
    SELECT destination.id, subject.id, %(about)s, '', false FROM destination, subject
    WHERE asks AND has_cards AND NOT in_flood
    ON CONFLICT DO NOTHING RETURNING id, destination_id
), card AS MATERIALIZED (
    SELECT id, destination_id FROM made_card UNION ALL
    SELECT card.id, destination_id FROM alerts_card card, subject
    WHERE card.message_id = subject.id AND destination_id IN (SELECT id FROM destination)
    AND (card.revision_shown IS NULL OR NOT %(content)s) UNION ALL
    SELECT card.id, destination_id FROM alerts_card card
    WHERE %(about)s <> '' AND card.about = %(about)s AND destination_id IN (SELECT id FROM destination)
), waiting AS MATERIALIZED (
    SELECT delivery.card_id FROM alerts_delivery delivery
    WHERE delivery.card_id IN (SELECT id FROM card) AND delivery.state = 'due'
    ORDER BY delivery.card_id, delivery.id FOR UPDATE
), wanted AS (
    SELECT 'card' AS kind, destination_id, id AS card_id FROM card
    WHERE NOT EXISTS (SELECT FROM waiting WHERE waiting.card_id = card.id) UNION ALL
    SELECT 'answer', id, NULL FROM destination WHERE has_cards AND (answers OR (
        NOT EXISTS (SELECT FROM destination WHERE has_cards AND answers)
        AND id = (SELECT min(id) FROM destination WHERE has_cards AND posts_there)
    )) UNION ALL
    SELECT 'event', id, NULL FROM destination WHERE asks AND NOT has_cards
), made AS (
    INSERT INTO alerts_delivery (kind, destination_id, card_id, message_id, entry, action, trace, state, attempts,
        last_error, next_attempt_at, event_id, request, answer)
    SELECT kind, destination_id, card_id, subject.id, %(entry)s, %(action)s, %(trace)s, 'due', 0,
        '', statement_timestamp() + %(pause)s, '', '', '' FROM wanted, subject ORDER BY card_id, destination_id
    ON CONFLICT DO NOTHING RETURNING destination_id
)
SELECT EXISTS (
    SELECT FROM destination, subject
    WHERE asks AND has_cards AND NOT in_flood AND destination.id NOT IN (SELECT destination_id FROM card)
),
       ARRAY(SELECT id FROM destination WHERE id IN (SELECT destination_id FROM made) ORDER BY failures, id)
"""  # noqa: S608 - expressions of one_spelling

SET_APART = "message.set_apart"
_DROP = """
WITH card AS (
    SELECT card.id FROM alerts_card card JOIN mirror_message message ON message.id = card.message_id
    WHERE message.public_id = %(message)s::uuid AND discord_message_id = '' AND NOT EXISTS (
        SELECT FROM alerts_delivery made WHERE made.card_id = card.id AND made.state <> 'due'
    )
), dropped AS (
    DELETE FROM alerts_delivery WHERE state = 'due' AND card_id IN (SELECT id FROM card) RETURNING card_id
)
DELETE FROM alerts_card WHERE id IN (SELECT id FROM card) AND (SELECT count(*) FROM dropped) >= 0
"""


def on_recorded(entry: Entry, details: Mapping[str, str], **_: Any) -> None:
    """Plan what an entry asks for. A mistake here is logged, never costs the act, and the sweep plans it again."""
    if entry.action == SET_APART:
        _drop_cards(entry)
    if entry.action not in PLANNED_ACTIONS:
        return
    try:
        planned = Planned(entry, brake=details.get("brake", ""))
    except Exception:
        log.exception("alert not planned", extra={"entry": entry.pk, "action": entry.action})
    else:
        transaction.on_commit(lambda: _enqueue(planned), robust=True)


def _drop_cards(entry: Entry) -> None:
    """Drop what is due of a message whose content showed that it is one of a flood, where nothing was posted yet."""
    run(_DROP, {"message": entry.message}, prepare=True)


def _enqueue(planned: "Planned") -> None:
    countdown = CONTENT_PAUSE.total_seconds() + 0.05 if planned.entry.action == "message.held" else None
    if destinations := planned.destinations:
        # One task for all of them, which costs less than a task for each.
        tasks.drain.apply_async_on_commit((",".join(map(str, destinations)),), countdown=countdown)


class Planned:
    """What an act asks for, planned in the caller's transaction.

    `destinations` are those where something new is due. What was due there already was enqueued by the act before.
    """

    def __init__(self, entry: Entry, *, brake: str = "") -> None:
        """`brake` is the flood that an act is about, as its details say."""
        self.entry, self._brake = entry, brake
        self._answers = [self._ask()]
        if self._answers[0].row()[0]:
            # Another act made the same card at this moment: this statement could not see it, the next one can.
            self._answers.append(self._ask())

    @property
    def destinations(self) -> list[int]:
        """The destinations to enqueue, by key, once the statement has been answered; those that fail come last."""
        return list(dict.fromkeys(key for answer in self._answers for key in answer.row()[1]))

    def _ask(self) -> Answer:
        entry = self.entry
        parameters = {
            "entry": entry.pk,
            # As PostgreSQL writes an array: adapting a list costs more, and every act of the ledger comes here.
            "card_kinds": f"{{{','.join(card_kinds())}}}",
            "action": entry.action,
            "action_listed": json.dumps([entry.action]),
            "connection": entry.connection,
            "message": entry.message,
            "about": ""
            if entry.message
            else about_key(entry.action, entry=entry.pk, connection=entry.connection, brake=self._brake),
            "also_listed": json.dumps([HELD]) if entry.action == BRAKE else "",
            "trace": trace_id.get(),
            "pause": CONTENT_PAUSE if entry.action == "message.held" else timedelta(0),
            "makes": entry.action not in UPDATES_ONLY,
            "content": entry.action == FETCHED,
            "answered": entry.action in ANSWERED,
        }
        return run_apart(_PLAN, parameters, prepare=True)
