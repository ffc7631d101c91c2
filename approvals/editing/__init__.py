"""A person corrects a held message: it is sent as a new held one, and the first is
rejected as replaced by it.

Start in `commands.py`; `send.py` makes the two calls.
"""
