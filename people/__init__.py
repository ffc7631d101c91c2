"""People, their roles, and how they sign in. Every command gets a frozen `Actor` from
here.

It uses the ledger, and only the names and keys of connections and mailboxes; never
messages or decisions. Start reading at `urls.py`, which lists every page, or at
`actors.py` for what a role is.
"""
