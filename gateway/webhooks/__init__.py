"""Webhooks: subscriptions, their events, and the delivery of the events.

This folder does not know why an event happens: commands announce it (`events.py`), a
worker delivers it and judges how the endpoint behaves (`deliveries.py`).
"""
