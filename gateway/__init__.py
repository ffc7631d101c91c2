"""A MultiMail-compatible email API that holds what agents send until a person decides.

A product of its own: it speaks to the desk over HTTP and webhooks only, and knows of
`outgoing` and `common` alone. Start at `urls.py` and `api/site.py` for what a client
can call, at `messages/submission.py` for the way of a message, and at `states.py` for
the states it goes through.
"""
