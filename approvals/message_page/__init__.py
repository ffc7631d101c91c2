"""The page of one message: the views that show it, and those for every action on it.

The commands that change something are in `approvals.decisions`, `approvals.editing` and
`approvals.collaboration`. Start with `views.py`.
"""
