"""The mirror: the desk's copy of what MultiMail holds. It stores accounts, messages
with their revisions, attachments and threads, and reads MultiMail to keep them up to
date.

The mirror does not know the policy, so `approvals.held_rows` stores the contents of
messages. Start with `store.py`.
"""
