"""Whether a MultiMail behaves as docs/multimail.md says: the facts that the desk relies
on, each looked at by calls.
"""
