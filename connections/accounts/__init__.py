"""Connections to MultiMail accounts: adding and removing them, their keys, pausing, and
the desk's own webhook at each account.

Start with `commands.py`.
"""
