"""The people of the desk: their roles, how they sign in, and the pages about them.
Every command gets the person who acts as a frozen `Actor` (`common/actors.py`).

This package writes to the ledger, and uses the names and keys of connections and
mailboxes; it knows no messages or decisions. Start reading at `urls.py`, which lists
every page, or at `roles.py` for what a role is granted for.
"""
