"""Accounts with their keys and mailboxes, and the acts that a person confirms by a
code: the commands.

Knows nothing of HTTP and of the API's fields. Start at `accounts.py`; what a key may do
is in `keys.py`.
"""
