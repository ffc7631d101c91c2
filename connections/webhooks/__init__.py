"""Webhooks of an account: registered, tested, ended, and what was sent to them.

Start with `commands.py`.
"""
