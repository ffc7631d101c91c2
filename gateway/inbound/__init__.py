"""Mail that comes in: an SMTP listener for the addresses of the mailboxes. It receives and stores; it sends nothing."""
