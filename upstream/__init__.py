"""MultiMail as this product calls it and is called by it: clients by kind of key,
webhooks' events, typed errors.

It knows no models and no Django app, only `common`. Start in `client.py`; `wire.py`
says what a failed call means.
"""
