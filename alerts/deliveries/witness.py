"""Posts the newest checkpoint of the ledger to destinations that are witnesses, about
once an hour if there is a newer one. A witness is a channel at a third party: its copy
shows if the ledger was changed later.

The post has the signed checkpoint, which the verifier takes with --head, and no words
of messages or names of people. It is not recorded in the ledger, because each entry
would cause a new checkpoint; an Anchor and the destination's row say where it was
posted.
"""

import logging
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from alerts.channels import channel_of
from alerts.channels.base import CardChannel, DestinationGone, NotPosted, RetryLater
from alerts.deliveries.waits import hold_back, switch_off
from alerts.models import Destination
from audit.models import Anchor, Seal
from audit.sealing.anchors import add_anchors
from audit.sealing.signing import latest_seal, public_keys
from audit.verifier.countersign_verify import Report

log = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
# When the post is tried again after a failure, or if the worker that claimed it died.
_CLAIM = timedelta(minutes=5)


def post_heads() -> int:
    """Post the newest checkpoint to the witnesses that are due and do not have it;
    return how many accepted it. Without a key, nothing is posted: what was posted is
    stored under a signature.
    """
    seal = latest_seal()
    if seal is None or not public_keys():
        return 0
    due = Destination.objects.due_witnesses().exclude(witnessed_seal=seal.number)
    return sum(_post(destination, seal) for destination in due.order_by("pk"))


def check_witnesses(report: Report, **_: Any) -> None:
    """Report the newest checkpoint of a destination if its anchor was removed. Anchors
    themselves show that of earlier ones.
    """
    posted = Anchor.objects.filter(
        kind=Anchor.Kind.DISCORD, seal=OuterRef("witnessed_seal")
    )
    for one in Destination.objects.filter(~Exists(posted), witnessed_seal__gt=0):
        report.find(
            f"Seal {one.witnessed_seal} was posted to {one.name}, and its anchor was removed."
        )


def _post(destination: Destination, seal: Seal) -> bool:
    # Posts the checkpoint to one witness, and stores where it was posted. Returns
    # whether the witness accepted it.
    due = Destination.objects.due_witnesses().filter(pk=destination.pk)
    if not due.update(witness_due_at=Now() + _CLAIM):
        return False
    channel = channel_of(destination.kind)
    assert isinstance(channel, CardChannel), "the form lets no other kind keep heads"
    lines = (
        f"Ledger of Countersign: seal {seal.number}, signed with {seal.key_fingerprint}",
        f"hash `{seal.hash}`",
        f"```\n{seal.as_line().decode()}```",
    )
    try:
        posted = channel.post(destination, channel.lines_body(lines))
    except DestinationGone as gone:
        switch_off(destination, str(gone))
        return False
    except NotPosted as error:
        if isinstance(error, RetryLater) and error.seconds is not None:
            # The wait applies to all deliveries of the destination.
            hold_back(destination, error.seconds, whole_service=error.whole_service)
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
        add_anchors(
            [seal],
            Anchor.Kind.DISCORD,
            place,
            posted.message_id,
            previous=destination.witnessed_seal or 0,
        )
    log.info(
        "checkpoint posted", extra={"destination": destination.pk, "seal": seal.number}
    )
    return True
