"""What the review plan of a mailbox does for its held messages: deadlines, reminders
and assignment.

Start with `handling.py`.
"""
