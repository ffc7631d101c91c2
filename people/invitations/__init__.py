"""One-time links: invitations to join the desk, and links to set a new password.

A link grants only what the admin who made it may still grant when it is used. Start
reading at `links.py`.
"""
