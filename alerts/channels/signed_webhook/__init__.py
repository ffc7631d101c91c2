"""Signed webhook: each event is posted to a program, signed by Standard Webhooks. All
of it is in channel.py.
"""

from alerts.channels.signed_webhook.channel import SignedWebhook

CHANNELS = (SignedWebhook(),)
