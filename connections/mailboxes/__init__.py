"""Mailboxes of a MultiMail account: creating, changing and deleting them, and loosening
their oversight mode.

Start with `commands.py`.
"""
