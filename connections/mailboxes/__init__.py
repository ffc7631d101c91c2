"""Mailboxes of an account: made, changed, deleted, and loosened in MultiMail's two
steps.

Start with `commands.py`.
"""
