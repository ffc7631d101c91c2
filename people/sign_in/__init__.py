"""Authentication: password, passkey, provider, second step, and reauthentication before
sensitive acts.

It adapts django-allauth, and does not import the pages that change an account. Start
reading at `views.py`, or at `middleware.py` for the checks of every request.
"""
