"""Mailboxes of an account: made, changed, deleted, and given a looser oversight mode in MultiMail's two steps.

Start with `commands.py`.
"""
