"""Whom an account may write to: allowlists and what they refused, contacts, suppressed
addresses.

Decides about addresses only; it knows no drafts and no outbox. Start at
`allowlists.py`.
"""
