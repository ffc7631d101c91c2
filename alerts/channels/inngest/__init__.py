"""Inngest: each event is posted to its event API. It must not know cards. All of it is
in channel.py.
"""

from alerts.channels.inngest.channel import Inngest

CHANNELS = (Inngest(),)
