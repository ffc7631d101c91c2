"""The inbox of everybody the demo writes to: an SMTP server, its Maildir, and pages to
read it.
"""
