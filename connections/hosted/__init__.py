"""Checks whether a MultiMail behaves as docs/multimail.md says: it has a function for
each fact that the desk relies on. The command `hosted_check` runs them.
"""
