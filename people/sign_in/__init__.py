"""Authentication: by password, passkey or provider, the second step, and
reauthentication before sensitive acts.

It adapts django-allauth, and does not import the pages on which people change their
account. Start reading at `views.py`, or at `middleware.py` for the checks of every
request.
"""
