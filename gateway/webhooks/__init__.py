"""Webhooks: subscriptions, the events that they get, and the delivery of these.

Knows nothing of why an event happened: commands announce it (`events.py`), a worker
delivers it (`deliveries.py`), and `endpoints.py` judges how an endpoint behaves.
"""
