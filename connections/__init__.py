"""The pages and commands with which admins manage MultiMail accounts: connections and
their keys, API keys, webhooks, mailboxes, and the kill switch.

These pages may wait for MultiMail, ten seconds at most; no other page does. Each folder
or module has the commands, forms and pages of one subject. Start with
`accounts/commands.py`.
"""
