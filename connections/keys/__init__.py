"""API keys of a MultiMail account: creating, limiting, pausing and revoking them, and
who owns the program that uses each.

Start with `commands.py`.
"""
