"""The page of one message, and everything that a person can press on it.

It decides nothing itself: the commands are in `decisions` and `collaboration`. Start with `views.py`.
"""
