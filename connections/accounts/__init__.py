"""Connections: added, given other keys or another secret, paused, removed; and the
desk's own webhook.

Start with `commands.py`.
"""
