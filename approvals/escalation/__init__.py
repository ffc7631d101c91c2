"""Carries out the review plans of mailboxes for their held messages: deadlines,
reminders and assignments.

Start with `handling.py`.
"""
