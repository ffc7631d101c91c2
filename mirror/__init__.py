"""The mirror: the desk's copy of what MultiMail holds. It stores accounts, messages
with their revisions, attachments and threads, and reads MultiMail to keep them up to
date.

The mirror does not know the policy. Code that stores a message's content passes an
object for that, the `store.Examiner`. Start with `store.py`.
"""
