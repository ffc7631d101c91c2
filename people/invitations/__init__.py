"""One-time links: by one somebody joins, by another somebody sets a new password.

A link carries what its maker may grant, and only while they may. Start reading at `links.py`.
"""
