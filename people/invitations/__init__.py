"""One-time links: invitations to join, and links to set a new password.

A link grants only what its maker may grant at that moment. Start reading at `links.py`.
"""
