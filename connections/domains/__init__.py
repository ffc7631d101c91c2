"""Domains of an account: what to put into DNS, adding, looking up and removing one.

Start with `commands.py`.
"""
