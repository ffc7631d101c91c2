"""The review desk: the queue of messages that wait, what people decide about them, and
how their decisions are carried out at MultiMail.

It calls MultiMail only through `upstream` and the mirror. Notifications are sent by
`alerts`. Start with `decisions/decide.py`, then `queue/views.py` and
`message_page/views.py`.
"""
