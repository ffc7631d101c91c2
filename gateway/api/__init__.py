"""The routes of the gateway's API, one file for each subject: bodies of requests,
documented answers, rows as answers show them, and handlers.

A handler parses the request, calls one command and shapes the answer; it writes nothing
itself. Start at `site.py`, which puts the routes together; sending a message is in
`sending.py`.
"""
