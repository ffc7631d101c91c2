"""Posts the ledger's newest head where a third party keeps it, with a time of its own: once an hour where it is newer.

A post holds numbers and hashes only: no word of any message, nor anybody's name. It leaves no entry in the ledger, or
each would ask for the next; where a head was posted stands in Anchor and at the destination.
"""

import logging
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from alerts.channels.discord import transport as discord
from alerts.channels.discord.addresses import masked
from alerts.channels.outcomes import CardGone, CardRefused, DestinationGone, Later, Posted
from alerts.deliveries.waits import hold_back, switch_off
from alerts.models import Destination
from audit.models import Anchor, Seal
from audit.sealing.anchors import add_anchor
from audit.sealing.preconditions import latest_seal

log = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
# Above the time limit of one attempt: after it the worker that took the turn is dead.
_TURN = timedelta(seconds=60)
# After a failure that may pass.
_AGAIN = timedelta(minutes=5)


def post_heads(*, only: int | None = None) -> int:
    """Post the newest head wherever it is due, or at one destination only, and return how many were taken."""
    seal = latest_seal()
    if seal is None:
        return 0
    due = Destination.objects.due_witnesses().exclude(witnessed_seal=seal.number).order_by("pk")
    if only is not None:
        due = due.filter(pk=only)
    return sum(_post(destination, seal) for destination in due)


def head_post(seal: Seal) -> dict[str, Any]:
    """Return the post for Discord. The page “Ledger status” takes its words to compare with."""
    words = (
        f"**Ledger of Countersign: seal {seal.number}**\n"
        f"{seal.size:,} {'entry' if seal.size == 1 else 'entries'}, sealed {seal.at:%Y-%m-%d %H:%M:%S} UTC\n"
        f"root `{seal.root}`\n"
        f"key `{seal.key_fingerprint}`"
    )
    return {"content": words, "allowed_mentions": {"parse": []}}


def _post(destination: Destination, seal: Seal) -> bool:
    turn = Destination.objects.due_witnesses().filter(pk=destination.pk)
    if not turn.update(witness_due_at=Now() + _TURN):
        return False
    try:
        posted = discord.post(destination, head_post(seal))
    except Later as later:
        seconds = later.seconds or _AGAIN.total_seconds()
        if later.seconds is not None:
            # It holds for everything that goes to the same place.
            hold_back(destination.pk, seconds)
        return _not_now(destination, timedelta(seconds=seconds), str(later))
    except DestinationGone as gone:
        switch_off(destination, str(gone))
        return False
    except (CardRefused, CardGone) as refused:
        return _not_now(destination, EVERY, str(refused))
    return _done(destination, seal, posted)


def _not_now(destination: Destination, wait: timedelta, why: str) -> bool:
    Destination.objects.filter(pk=destination.pk).update(witness_due_at=Now() + wait)
    log.warning("head not posted", extra={"destination": destination.pk, "reason": why})
    return False


@transaction.atomic
def _done(destination: Destination, seal: Seal, posted: Posted) -> bool:
    told = {"witnessed_seal": seal.number, "witnessed_at": Now(), "witness_due_at": Now() + EVERY}
    Destination.objects.filter(pk=destination.pk).update(**told)
    # Two channels may bear one name: the end of the address tells them apart.
    add_anchor(seal, Anchor.Kind.DISCORD, f"{destination.name}, {masked(destination.url)}", posted.message_id)
    log.info("head posted", extra={"destination": destination.pk, "seal": seal.number})
    return True
