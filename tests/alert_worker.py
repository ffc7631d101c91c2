"""A worker for alerts as a process to be killed: `python -m tests.alert_worker LEASE
WINDOW`, in seconds.
"""

import sys
import time
from datetime import timedelta

import django


def main(lease, window):
    """Do what is due, until the end. So long a dead worker's rows stay taken, and a
    channel's posts count.
    """
    django.setup()
    import outgoing.models
    from alerts.channels.discord import rates
    from alerts.deliveries.drain import drain, with_something_due

    outgoing.models.LEASE = timedelta(seconds=float(lease))
    rates.CHANNEL_SECONDS = float(window)
    while True:
        for destination_id in with_something_due():
            drain(destination_id=destination_id)
        time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
