"""The review desk: what waits, what people decide about it, and how a decision is
carried out.

It reaches MultiMail only through `upstream` and the mirror; `alerts` sends the
notifications. Start with `decisions/decide.py`, then `queue/views.py` and
`message_page/views.py`.
"""
