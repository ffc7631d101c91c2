"""Tells our gateway until when a held message may be approved, so that it refuses a
late approval by anybody.
"""

import logging

from mirror.models import Message
from mirror.sync import health, reads
from upstream import errors

log = logging.getLogger(__name__)
# The gateway will never take it: the message is not held there any more, or is not to
# be decided with this key.
_FINAL = (errors.NotFound, errors.Conflict, errors.Rejected, errors.Forbidden)


def tell_expiry(*, message_id: int) -> str:
    """Tell the gateway the expiry of one message. Where it cannot be reached the sweep
    tries again.
    """
    message = (
        Message.objects.expiry_to_tell()
        .select_related("connection")
        .filter(pk=message_id)
        .first()
    )
    if message is None or message.expires_at is None:
        return "nothing to tell"
    expires_at = message.expires_at
    outcome = "told"
    try:
        client = reads.oversight_client(message.connection)
        client.set_expiry(email_id=message.upstream_id, expires_at=expires_at)
    except _FINAL as error:
        outcome = "refused"
        log.warning(
            "expiry refused by the gateway",
            extra={"email": message.upstream_id, "reason": error.sentence},
        )
    except errors.Throttled as error:
        health.wait(message.connection, error.retry_after)
        return "not now"
    except errors.UpstreamError as error:
        log.warning(
            "expiry not told",
            extra={"email": message.upstream_id, "reason": type(error).__name__},
        )
        return "not told"
    # Only what was told: the expiry may have been extended meanwhile.
    Message.objects.filter(pk=message.pk).update(gate_expires_at=expires_at)
    return outcome
