"""Deciding many messages together: what may be chosen, the sheet that shows each of them, and the outcomes.

Each message is decided by itself, by `decisions`. Start with `views.py`.
"""
