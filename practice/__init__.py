"""Practice messages: copies of approved messages with one fault each, planted among the
held messages to test whether reviewers look. They exist at this desk only: MultiMail
does not know them, and they are never sent.

An optional feature: `approvals.local_messages` says what the desk asks of it, and
`apps.py` what it adds to the desk.
"""
