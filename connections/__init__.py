"""MultiMail accounts as admins change them: keys, webhooks, mailboxes, domains, and
holding all mail.

Its pages may wait for MultiMail, ten seconds at most; no other page does. Each folder
or module holds the commands, forms and pages of one subject. Start with `accounts/commands.py`.
"""
