"""Webhooks of a MultiMail account: registering, testing and deleting them, changing
their secrets, and their deliveries. For the desk's own webhook see
`accounts/own_webhook.py`.

Start with `commands.py`.
"""
