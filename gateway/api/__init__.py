"""The routes, one file a subject: bodies of requests, documented answers, rows as they
are shown, and handlers.

A handler parses, calls one command and shapes the answer; it writes nothing itself, and
no other folder imports this one. Start at `site.py`, which lists each handler in
`OPERATION_GROUPS`; sending a message is in `sending.py`.
"""
