"""Receives MultiMail's webhooks: checks the signature, stores and applies the event,
and lets an admin replay or dismiss one that could not be applied.

Nothing here calls MultiMail. Start with `webhooks.py`, then `ingest.py`.
"""
