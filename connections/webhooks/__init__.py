"""Webhooks of an account: registering, testing and deleting them, and their deliveries.

Start with `commands.py`.
"""
