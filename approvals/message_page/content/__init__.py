"""What the message page shows of a content: compared parts, source, headers, recipients
and facts.

It writes nothing. Start with `addresses.py`.
"""
