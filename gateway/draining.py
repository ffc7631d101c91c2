"""Works off what has piled up for one subscription, without a pause between two deliveries, for a moment at a time.

What else waits for the worker gets its turn after each moment. What goes wrong is left to the sweep, which begins anew.
"""

import time

from gateway import deliver
from gateway.models import WebhookDelivery

# Seconds that mail and other subscriptions wait at most, as long as this one answers at once.
MOMENT = 0.25
_AT_ONCE = 20


def drain(*, delivery_id: int) -> int | None:
    """Deliver this and then what is due longest, for a moment. Returns the one to go on with, None to leave it.

    Whoever finds its first delivery taken leaves too: somebody else is at work on the same subscription.
    """
    until = time.monotonic() + MOMENT
    first = WebhookDelivery.objects.claim(delivery_id)
    if first is None or not deliver.attempt(first):
        return None
    while waiting := WebhookDelivery.objects.waiting_for(first.webhook_id, _AT_ONCE):
        for key in waiting:
            if time.monotonic() >= until:
                return key
            delivery = WebhookDelivery.objects.claim(key)
            if delivery is not None and not deliver.attempt(delivery):
                # An endpoint that does not take its events is not asked for more at this pace.
                return None
    return None
