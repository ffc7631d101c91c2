"""Webhooks: subscriptions, the events that they get, and the delivery of these.

Knows nothing of why an event happened: commands announce it (`events.py`), a worker
delivers it and judges how the endpoint behaves (`deliveries.py`).
"""
