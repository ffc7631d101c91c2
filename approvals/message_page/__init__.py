"""The page of one message, and its actions.

It decides nothing itself: the commands are in `decisions` and `collaboration`. Start
with `views.py`.
"""
