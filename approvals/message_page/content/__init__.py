"""What the message page says about a content: its parts compared, its source, headers, recipients and facts.

It writes nothing. Start with `addresses.py`.
"""
