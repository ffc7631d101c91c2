"""Deciding many messages at once: what may be chosen, the sheet that shows each of
them, and the outcomes.

Each message is decided separately, by `decisions`. Start with `views.py`.
"""
