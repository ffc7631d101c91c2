"""Posts the ledger's newest checkpoint where a third party keeps it, once an hour where
it is newer.

A post holds numbers and hashes only: no word of any message, nor anybody's name. It is
not recorded in the ledger, or each would ask for the next; where a head was posted is
in Anchor and at the destination.
"""

import logging
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from alerts.channels import channel_of
from alerts.channels.base import CardChannel, DestinationGone, NotPosted, RetryLater
from alerts.deliveries.waits import hold_back, switch_off
from alerts.models import Destination
from audit.models import Anchor, Seal
from audit.sealing.anchors import add_anchor
from audit.sealing.signing import latest_seal

log = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
# Longer than one attempt may take: after it, the worker that claimed the post is dead.
_CLAIM = timedelta(seconds=60)
# After a failure that may pass.
_RETRY = timedelta(minutes=5)


def post_heads(*, only: int | None = None) -> int:
    """Post the newest checkpoint wherever it is due, or at one destination only, and
    return how many were accepted.
    """
    seal = latest_seal()
    if seal is None:
        return 0
    due = Destination.objects.due_witnesses().exclude(witnessed_seal=seal.number)
    if only is not None:
        due = due.filter(pk=only)
    return sum(_post(destination, seal) for destination in due.order_by("pk"))


def head_lines(seal: Seal) -> tuple[str, ...]:
    """Return what is posted, a title first. The page that compares checkpoints reads
    these words.
    """
    return (
        f"Ledger of Countersign: seal {seal.number}",
        f"{seal.size:,} {'entry' if seal.size == 1 else 'entries'}, sealed {seal.at:%Y-%m-%d %H:%M:%S} UTC",
        f"hash `{seal.hash}`",
        f"key `{seal.key_fingerprint}`",
    )


def _post(destination: Destination, seal: Seal) -> bool:
    due = Destination.objects.due_witnesses().filter(pk=destination.pk)
    if not due.update(witness_due_at=Now() + _CLAIM):
        return False
    channel = channel_of(destination.kind)
    assert isinstance(channel, CardChannel), "the form lets no other kind keep heads"
    try:
        posted = channel.post(destination, channel.lines_body(head_lines(seal)))
    except DestinationGone as gone:
        switch_off(destination, str(gone))
        return False
    except NotPosted as error:
        wait = EVERY
        if isinstance(error, RetryLater):
            wait = _RETRY
            if error.seconds is not None:
                wait = timedelta(seconds=error.seconds)
                # The wait applies to all deliveries of the destination.
                hold_back(destination, error.seconds)
        Destination.objects.filter(pk=destination.pk).update(
            witness_due_at=Now() + wait
        )
        log.warning(
            "checkpoint not posted",
            extra={"destination": destination.pk, "reason": str(error)},
        )
        return False
    # Two channels may have the same name: the end of the address distinguishes them.
    place = f"{destination.name}, {channel.address(destination)}"
    with transaction.atomic():
        Destination.objects.filter(pk=destination.pk).update(
            witnessed_seal=seal.number,
            witnessed_at=Now(),
            witness_due_at=Now() + EVERY,
        )
        add_anchor(
            seal,
            Anchor.Kind.DISCORD,
            place,
            posted.message_id,
            previous=destination.witnessed_seal or 0,
        )
    log.info(
        "checkpoint posted", extra={"destination": destination.pk, "seal": seal.number}
    )
    return True
