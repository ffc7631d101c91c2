"""Received mail: an SMTP listener for the addresses of the gateway's mailboxes, and the
reports of mail servers about sent mail.

This folder stores what it receives, sends nothing, and does not import the API. Start
at `smtp_server.py`, then `mail.py` (bytes to a message) and `receive.py` (a message to
rows).
"""
