"""The page that guides an admin through the first run: what is done, what is to do, and
what is wrong.

It stores nothing of its own. Start in `steps.py`.
"""
