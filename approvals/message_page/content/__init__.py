"""What the message page says about a content: its parts compared, its source, headers, recipients and facts.

It writes nothing but the note that somebody opened the message (`opening.py`). Start with `addresses.py`.
"""
