"""Small modules that two or more apps share: PostgreSQL, Celery, HTTP requests, text
and addresses.

It imports no other package of ours, and no module here knows what a message or a
decision is to the desk. Each can be read alone.
"""
