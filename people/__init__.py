"""People, their roles, and how they sign in; hands down a frozen `Actor` to every command.

It knows the ledger, and of connections and mailboxes only their names and keys; never messages or decisions. Start
reading at `urls.py`, which lists every page, or at `actors.py` for what a role is.
"""
