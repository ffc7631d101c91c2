"""Where MultiMail's webhooks come in: signature, storing, applying, and what an admin does with one that failed.

It asks MultiMail nothing. Start with `webhooks.py`, then `ingest.py`.
"""
