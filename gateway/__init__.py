"""The gateway: an email API, compatible with MultiMail's, that holds what AI agents
send until a person decides.

It is a product of its own: it talks to the desk only over HTTP and webhooks, and
imports only `common`, `outgoing`, `parsing` and `simple_form` from the rest of the
repository. Start at `urls.py` and `api/site.py` for the calls of the API, at
`messages/submission.py` for what happens to a message, and at
`states.py` for the states of a message.
"""
