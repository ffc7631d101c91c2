"""How people prove who they are: password, passkey, provider, second step, confirmation before sensitive acts.

It adapts django-allauth and knows nothing of the pages that change an account. Start reading at `views.py`, or at
`middleware.py` for what is checked at every request.
"""
