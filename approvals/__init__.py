"""The review desk: what waits, what people decide about it, and how a decision is carried out.

It knows MultiMail only by `upstream` and the mirror; who is told of what is the business of `alerts`. Start with
`decisions/decide.py`, then `queue/views.py` and `message_page/views.py`.
"""
