"""Mail that comes in: an SMTP listener for the addresses of the mailboxes, and the
reports of mail servers.

It receives and stores, and sends nothing; the API is unknown here. Start at
`smtp_server.py`, then `mail.py` (bytes to a message) and `receive.py` (a message to
rows).
"""
