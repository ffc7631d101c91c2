"""Domains of accounts: proof by DNS records, and the DKIM keys that sign their mail.

Knows no messages. Start at `registration.py`.
"""
