"""What people add to a message for each other: claims, snoozes, comments, mentions. No
pages.

Nothing here decides, and nothing leaves the desk. Start with `claims.py`.
"""
