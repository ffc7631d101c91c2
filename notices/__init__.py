"""Notices: tell a person that something waits for them, or came back. A person is told
because of a cause, at most once a way, and no longer than the cause lasts.

`models.py` has the causes, `planning.py` finds for an act of the ledger whom to tell,
and `views.py` has the inbox. How notices reach people outside the desk is in `alerts`.
"""
