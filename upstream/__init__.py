"""Speaks with MultiMail: clients that call its API, one for each kind of key; the
events of its webhooks; and errors that say what the caller should do.

It imports no models and no app, only `common`. Start in `client.py`; `wire.py` says
what a failed call means.
"""
