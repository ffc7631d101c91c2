"""MultiMail accounts as admins change them: keys, webhooks, mailboxes, domains, and holding all mail.

Its pages may wait for MultiMail, ten seconds at most; no other page does. Start with `accounts/adding.py`.
"""
