"""Reads from MultiMail: held messages, mailboxes, contacts and suppressed addresses.
Also tracks the health of each connection, and deletes old data. Start with `reads.py`.
"""
