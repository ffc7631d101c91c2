"""Where MultiMail's webhooks come in: signature, storing, applying, and what an admin
does with one that failed.

It never calls MultiMail. Start with `webhooks.py`, then `ingest.py`.
"""
