"""Claims deliveries in order: the oldest first, and none before an earlier one of the same message.

What every delivery asks is plain SQL: Django takes longer to build these statements than PostgreSQL to answer them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, models, transaction
from django.db import connection as database

import outgoing.models
from alerts.cards.markup import Card as CardContent
from alerts.channels import channel_of
from alerts.channels.base import Posted
from alerts.models import Card, Delivery, Destination
from common.postgres.rows import batch, run

Row = TypeVar("Row", bound=models.Model)

TO_BE_FOLDED = "to be folded"

# Relies on delivery_to_do_there, as everything below.
_DUE = """{0}.destination_id = %(destination)s AND {0}.state IN ('due', 'sending') AND (
        ({0}.state = 'due' AND {0}.next_attempt_at <= statement_timestamp())
        OR ({0}.state = 'sending' AND {0}.lease_until < statement_timestamp()))"""
# Where nothing is due, nothing is locked.
_LOCK = f"""
SELECT coalesce(waits_until > statement_timestamp() AND switched_off_at IS NULL, false), due.number, {{columns}}
FROM alerts_destination destination CROSS JOIN (
    SELECT count(*) AS number FROM (
        SELECT FROM alerts_delivery due WHERE {_DUE.format("due")} LIMIT %(counted)s
    ) AS due
) AS due WHERE id = %(destination)s AND due.number > 0 FOR NO KEY UPDATE OF destination
"""  # noqa: S608 - names of ours
# Sent after the lock was given, so that it sees what its last holder did. Expired leases are not under way; otherwise
# two dead workers' rows would block each other. Cards on a digest are claimed with it. A due row is found, and looked
# at again when it is changed: whoever had locked it meanwhile may have postponed it.
_CLAIM = f"""
WITH next AS MATERIALIZED (
    SELECT due.id FROM alerts_delivery due
    WHERE {_DUE.format("due")} AND (%(only)s::bigint IS NULL OR due.id = %(only)s) AND CASE
        WHEN due.kind IN ('event', 'answer') THEN NOT EXISTS (
            SELECT FROM alerts_delivery earlier WHERE earlier.destination_id = due.destination_id
            AND earlier.message_id = due.message_id AND earlier.id < due.id
            AND earlier.kind IN ('event', 'answer') AND earlier.state IN ('due', 'sending')
        )
        WHEN due.kind = 'card' THEN NOT EXISTS (
            SELECT FROM alerts_card WHERE id = due.card_id AND digest_id IS NOT NULL
        )
        ELSE true END
    ORDER BY due.id LIMIT 1
), asked AS MATERIALIZED (
    SELECT CASE
        WHEN NOT EXISTS (SELECT FROM next) THEN ''
        WHEN (
            SELECT count(*) FROM alerts_delivery sending LEFT JOIN alerts_card card ON card.id = sending.card_id
            WHERE sending.destination_id = %(destination)s AND sending.state = 'sending'
            AND sending.lease_until >= statement_timestamp() AND card.digest_id IS NULL
        ) >= %(parallel)s THEN 'another one is under way'
        ELSE 'claimed' END AS outcome
), claimed AS (
    UPDATE alerts_delivery delivery
    SET state = 'sending', attempts = attempts + 1, lease_until = statement_timestamp() + %(lease)s
    FROM asked, next WHERE asked.outcome = 'claimed' AND delivery.id = next.id AND {_DUE.format("delivery")}
    RETURNING delivery.*
)
SELECT asked.outcome, {{columns}} FROM asked LEFT JOIN claimed delivery ON true
LEFT JOIN alerts_card card ON card.id = delivery.card_id
"""  # noqa: S608 - names of ours


@dataclass(frozen=True)
class Claim:
    """A delivery that the caller has claimed; a digest's claim includes the deliveries of its cards."""

    delivery: Delivery
    destination: Destination
    card_deliveries: list[int] = field(default_factory=list)
    cards_lease: datetime | None = None


@transaction.atomic
def claim(destination_id: int, *, only: int | None = None, fold_above: int | None = None) -> tuple[Claim | None, str]:
    """Claim the next delivery of a destination, or `only` this one, for one attempt; or say why not.

    Empty where nothing is due. The answer is TO_BE_FOLDED where digests may come first: more than `fold_above` are due,
    or none that goes by itself.
    """
    counted = 1 if fold_above is None else fold_above + 1
    parameters = {"destination": destination_id, "only": only, "lease": outgoing.models.LEASE, "counted": counted}
    locked = run(_LOCK.format(columns=_columns(Destination, "destination")), parameters, prepare=True).one()
    if locked is None:
        return None, ""
    waits, number, *of_destination = locked
    if waits:
        return None, "not due"
    destination = _build(Destination, of_destination)
    channel = channel_of(destination.kind)
    may_fold = channel.posts_cards and fold_above is not None
    if may_fold and number == counted:
        return None, TO_BE_FOLDED
    outcome, *values = run(_claim_sql(), {**parameters, "parallel": channel.parallel}, prepare=True).row()
    if outcome != "claimed":
        return None, TO_BE_FOLDED if may_fold and not outcome else outcome
    delivery = _claimed(values, destination)
    if delivery is None:
        # Its row was locked, and whoever did so ended or postponed it.
        return None, "not due"
    cards, lease = _claim_cards(delivery) if delivery.kind == Delivery.Kind.DIGEST else ([], None)
    return Claim(delivery, destination, cards, lease), ""


def lock(destination: Destination) -> None:
    """Lock the destination, before the rows of its deliveries: in the order in which a claim does."""
    run("SELECT FROM alerts_destination WHERE id = %s FOR NO KEY UPDATE", [destination.pk], prepare=True)


# Number and lease fence the write, as `Delivery._finish` says. What was erased meanwhile stays erased. Sent under the
# destination's lock, so that it sees what was due to anybody who could claim nothing while this one was under way.
_DELIVERED = f"""
UPDATE alerts_delivery SET state = 'delivered', response_status = %(status)s, last_error = '', lease_until = NULL,
    last_attempt_at = statement_timestamp(),
    request = CASE WHEN erased_at IS NULL THEN coalesce(%(request)s::text, request) ELSE request END,
    answer = CASE WHEN erased_at IS NULL THEN %(answer)s ELSE answer END
WHERE id = %(delivery)s AND state = 'sending' AND attempts = %(attempts)s AND lease_until = %(lease)s
RETURNING EXISTS (SELECT FROM alerts_delivery due WHERE {_DUE.format("due")})
"""  # noqa: S608 - names of ours
_SHOWN = "UPDATE alerts_card SET discord_message_id = %s, revision_shown = %s WHERE id = %s"


def delivered(claimed: Claim, posted: Posted, *, card: CardContent | None) -> bool:
    """Record in the caller's transaction that a delivery was accepted; `card` is what it shows, if it is one.

    Return whether nothing else is due there now.
    """
    delivery = claimed.delivery
    parameters = {
        "status": posted.status,
        "answer": posted.answer,
        # Stored already, as every attempt of an event sends the same.
        "request": None if delivery.kind == Delivery.Kind.EVENT else delivery.request,
        "delivery": delivery.pk,
        "destination": claimed.destination.pk,
        "attempts": delivery.attempts,
        "lease": delivery.lease_until,
    }
    with batch():
        lock(claimed.destination)
        if delivery.card_id and card:
            run(_SHOWN, [posted.message_id, card.revision, delivery.card_id], prepare=True)
        answer = run(_DELIVERED, parameters, prepare=True)
    return answer.one() == (False,)


@cache
def _claim_sql() -> str:
    return _CLAIM.format(columns=f"{_columns(Delivery, 'delivery')}, {_columns(Card, 'card')}")


def _claimed(values: Sequence[Any], destination: Destination) -> Delivery | None:
    of_delivery = len(Delivery._meta.concrete_fields)
    if values[0] is None:
        return None
    delivery = _build(Delivery, values[:of_delivery])
    delivery.destination = destination
    if delivery.card_id is not None:
        delivery.card = _build(Card, values[of_delivery:])
    return delivery


def _claim_cards(digest: Delivery) -> tuple[list[int], datetime | None]:
    """Claim what the digest covers now. What is being planned at this moment stays for its next edit."""
    of_cards = Delivery.objects.due().filter(kind=Delivery.Kind.CARD, card__digest=digest.digest_id)
    keys = list(of_cards.select_for_update(of=("self",), skip_locked=True).values_list("pk", flat=True))
    claimed = Delivery.objects.filter(pk__in=keys)
    claimed.take()
    return keys, claimed.values_list("lease_until", flat=True).first()


@cache
def _columns(model: type[models.Model], alias: str) -> str:
    """Return all columns of a table, in the order in which `_build` takes them."""
    return ", ".join(f'{alias}."{one.column}"' for one in model._meta.concrete_fields)


def _build(model: type[Row], values: Sequence[Any]) -> Row:
    """Return the row as Django would have read it."""
    fields = model._meta.concrete_fields
    read = [
        one.from_db_value(value, None, database) if hasattr(one, "from_db_value") else value
        for one, value in zip(fields, values, strict=True)
    ]
    return model.from_db(DEFAULT_DB_ALIAS, [one.attname for one in fields], read)
