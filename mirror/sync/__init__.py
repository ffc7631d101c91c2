"""Reads of MultiMail: held messages, mailboxes, contacts, suppressions; how fresh and
how well each connection is.

It decides nothing. Start with `reads.py`.
"""
