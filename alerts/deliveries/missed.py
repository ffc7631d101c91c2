"""Finds acts of the last minutes that were not planned because of an error, and plans them."""

from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from alerts.channels import card_kinds
from alerts.deliveries.planning import ANSWERED, PLANNED_ACTIONS, UPDATES_ONLY, Planned
from alerts.ledger_events import BRAKE, CHANGE_ASKED, HELD, OF_BRAKE, REFUSED
from alerts.models.destinations import one_spelling
from audit.models import Entry, EntryQuerySet
from common.logs import traced
from common.postgres.rows import run

# How far back acts are looked at again, and how long their own planning may take.
LOOK_BACK, PATIENCE = timedelta(minutes=10), timedelta(seconds=10)
_AT_A_TIME = 200

_ANSWERS = one_spelling("answers_channel")
_STARTED_IN = one_spelling("message.trigger ->> 'discord_channel'")
_STARTED_IN_ID = one_spelling("message.trigger ->> 'discord_channel_id'")

# What the statement of planning would make, by what each destination and route asked for at that time, and of which
# nothing is there: for cards, nothing that is due or went out since. The first condition is about messages, the second
# about what has no message; each finds its rows by an index of its own.
_MISSED = f"""
WITH act AS MATERIALIZED (
    SELECT entry.id, entry.at, entry.action, entry.connection, message.id AS message_id, message.mailbox_id,
        EXISTS (SELECT FROM approvals_review WHERE message_id = message.id AND brake_id IS NOT NULL) AS in_flood, CASE
        WHEN entry.message IS NOT NULL THEN NULL
        WHEN entry.action = %(refused)s THEN 'refusal/' || entry.id
        WHEN entry.action = ANY(%(of_brake)s) THEN 'brake/' || (
            SELECT fields ->> 'brake' FROM audit_entrydetail WHERE entry_id = entry.id
        )
        WHEN entry.action = %(change_asked)s THEN 'change/' || entry.id
        ELSE 'connection/' || entry.connection END AS about,
        ARRAY[{_STARTED_IN}, {_STARTED_IN_ID}] AS started_in
    FROM audit_entry entry LEFT JOIN mirror_message message ON message.public_id = entry.message
    WHERE entry.action = ANY(%(planned)s)
        AND entry.at > statement_timestamp() - interval '{{look_back}}'
        AND entry.at < statement_timestamp() - interval '{{patience}}'
), destination AS MATERIALIZED (
    SELECT id, told_since, kind = ANY(%(card_kinds)s) AS has_cards, nullif({_ANSWERS}, '') AS answers,
        coalesce(nullif(channel, ''), nullif(posts_in, '')) AS posts_in
    FROM alerts_destination WHERE switched_off_at IS NULL
), asked AS MATERIALIZED (
    SELECT act.id, destination.id AS destination_id, has_cards FROM act, destination
    WHERE at >= told_since AND NOT action = ANY(%(updates_only)s) AND NOT (in_flood AND has_cards) AND EXISTS (
        SELECT FROM alerts_route route LEFT JOIN mirror_mailbox mailbox ON mailbox.id = route.mailbox_id
        WHERE route.destination_id = destination.id AND at >= route.since AND (
            route.actions ? action OR (has_cards AND action = %(brake)s AND route.actions ? %(held)s)
        )
        AND (route.connection_id IS NULL OR route.connection_id = act.connection)
        AND (route.mailbox_id IS NULL OR route.mailbox_id = act.mailbox_id OR (
            about IS NOT NULL AND mailbox.connection_id = act.connection AND (
                action NOT IN (%(refused)s, %(change_asked)s) OR EXISTS (
                    SELECT FROM audit_entrydetail WHERE entry_id = act.id AND fields ->> 'mailbox' = mailbox.address
                )
            )
        ))
    )
), answering AS MATERIALIZED (
    SELECT act.id, destination.id AS destination_id, at >= told_since AS counts, answers = ANY(started_in) AS is_named
    FROM act, destination WHERE action = ANY(%(answered)s) AND has_cards AND answers IS NOT NULL
    AND (answers = ANY(started_in) OR posts_in = ANY(started_in))
)
SELECT act.id FROM act WHERE (
    message_id IS NOT NULL AND (
        id IN (SELECT asked.id FROM asked WHERE has_cards) OR EXISTS (
            SELECT FROM alerts_card card JOIN destination ON destination.id = card.destination_id
            WHERE card.message_id = act.message_id AND at >= told_since
        )
    ) AND NOT EXISTS (
        SELECT FROM alerts_delivery made WHERE made.message_id = act.message_id AND made.kind = 'card'
        AND (state IN ('due', 'sending') OR created_at >= act.at OR last_attempt_at >= act.at)
    )
) OR (
    about IS NOT NULL AND (
        id IN (SELECT asked.id FROM asked WHERE has_cards) OR EXISTS (
            SELECT FROM alerts_card card JOIN destination ON destination.id = card.destination_id
            WHERE card.about = act.about AND card.about <> '' AND at >= told_since
        )
    ) AND NOT EXISTS (
        SELECT FROM alerts_card card JOIN alerts_delivery made ON made.card_id = card.id
        WHERE card.destination_id IN (SELECT destination.id FROM destination)
        AND card.about = act.about AND card.about <> '' AND made.kind = 'card'
        AND (state IN ('due', 'sending') OR created_at >= act.at OR last_attempt_at >= act.at)
    )
) OR EXISTS (
    SELECT FROM asked WHERE asked.id = act.id AND NOT has_cards AND NOT EXISTS (
        SELECT FROM alerts_delivery made WHERE made.destination_id = asked.destination_id
        AND made.entry = act.id AND made.kind = 'event'
    )
) OR EXISTS (
    SELECT FROM answering WHERE answering.id = act.id AND counts AND (is_named OR destination_id = (
        SELECT min(other.destination_id) FROM answering other WHERE other.id = act.id
        HAVING NOT coalesce(bool_or(is_named), false)
    )) AND NOT EXISTS (
        SELECT FROM alerts_delivery made WHERE made.destination_id = answering.destination_id
        AND made.entry = act.id AND made.kind = 'answer'
    )
) ORDER BY id LIMIT %(at_a_time)s
"""  # noqa: S608 - expressions of one_spelling


def plan_missed() -> int:
    """Plan recent acts that were not planned because of an error; return how many there were."""
    parameters = {
        "planned": list(PLANNED_ACTIONS),
        "updates_only": list(UPDATES_ONLY),
        "answered": list(ANSWERED),
        "refused": REFUSED,
        "of_brake": list(OF_BRAKE),
        "brake": BRAKE,
        "held": HELD,
        "change_asked": CHANGE_ASKED,
        "card_kinds": card_kinds(),
        "at_a_time": _AT_A_TIME,
    }
    # In the text: without them PostgreSQL cannot know how few acts these are.
    sql = _MISSED.format(look_back=LOOK_BACK, patience=PATIENCE)
    missed, planned = [key for (key,) in run(sql, parameters, prepare=True).rows], 0
    for entry in Entry.objects.filter(pk__in=missed).select_related("detail").order_by("id") if missed else ():
        with transaction.atomic(), traced(entry.trace):
            brake = entry.detail.fields.get("brake", "") if hasattr(entry, "detail") else ""
            planned += bool(Planned(entry, brake=brake).destinations)
    return planned


def acts_to_look_at() -> EntryQuerySet:
    """Return the acts of the last minutes that should have been planned by now."""
    return Entry.objects.filter(at__gt=Now() - LOOK_BACK, at__lt=Now() - PATIENCE, action__in=PLANNED_ACTIONS)
